//! The codes of failure.

use std::fmt;

wire_enum! {
    /// The answer codes of ZooKeeper (`KeeperException.Code`); `Ok` is no error.
    pub enum ErrorCode, "error code" {
        /// no error
        Ok = 0,
        /// something the server should not have met
        SystemError = -1,
        /// an operation of a multi that was not tried because another failed
        RuntimeInconsistency = -2,
        /// servers that disagree on the data
        DataInconsistency = -3,
        /// the connection ended before the answer came; made by clients
        ConnectionLoss = -4,
        /// bytes that do not make the record they should
        MarshallingError = -5,
        /// an operation this server does not know
        Unimplemented = -6,
        /// no answer in time; made by clients
        OperationTimeout = -7,
        /// arguments that can never be right
        BadArguments = -8,
        /// internal to a server
        UnknownSession = -12,
        /// no quorum of the new configuration is there
        NewConfigNoQuorum = -13,
        /// another reconfiguration is on its way
        ReconfigInProgress = -14,
        /// the bound between system errors and those of the API
        ApiError = -100,
        /// no such znode
        NoNode = -101,
        /// the ACL forbids it
        NoAuth = -102,
        /// another version than the expected
        BadVersion = -103,
        /// an ephemeral has no children
        NoChildrenForEphemerals = -108,
        /// the znode is there already
        NodeExists = -110,
        /// the znode has children
        NotEmpty = -111,
        /// the session is over
        SessionExpired = -112,
        /// made by clients
        InvalidCallback = -113,
        /// an ACL that is not one
        InvalidAcl = -114,
        /// wrong credentials; the connection ends
        AuthFailed = -115,
        /// the session continues on another connection
        SessionMoved = -118,
        /// a write to a read-only server
        NotReadOnly = -119,
        /// an ephemeral needs a global session
        EphemeralOnLocalSession = -120,
        /// no such watch
        NoWatcher = -121,
        /// the request waited too long
        RequestTimeout = -122,
        /// reconfiguration is switched off
        ReconfigDisabled = -123,
        /// the server insists on SASL
        SessionClosedRequireSaslAuth = -124,
        /// a quota would be exceeded
        QuotaExceeded = -125,
        /// the server has too much to do
        ThrottledOp = -127,
    }
}

impl ErrorCode {
    /// For a person who has to understand what happened.
    fn words(self) -> &'static str {
        use ErrorCode::*;
        match self {
            Ok => "no error",
            SystemError => "the server met something it should not have",
            RuntimeInconsistency => "not tried, because another operation of the multi failed",
            DataInconsistency => "servers disagree on the data",
            ConnectionLoss => "the connection was lost",
            MarshallingError => "malformed request",
            Unimplemented => "the server does not know this operation",
            OperationTimeout => "no answer in time",
            BadArguments => "arguments that can never be right",
            UnknownSession => "no such session",
            NewConfigNoQuorum => "no quorum of the new configuration",
            ReconfigInProgress => "another reconfiguration is on its way",
            ApiError => "API error",
            NoNode => "no such znode",
            NoAuth => "not permitted",
            BadVersion => "the version is another",
            NoChildrenForEphemerals => "an ephemeral znode cannot have children",
            NodeExists => "the znode exists",
            NotEmpty => "the znode has children",
            SessionExpired => "the session has expired",
            InvalidCallback => "invalid callback",
            InvalidAcl => "invalid access control list",
            AuthFailed => "authentication failed",
            SessionMoved => "the session has moved to another connection",
            NotReadOnly => "the server is read-only",
            EphemeralOnLocalSession => "an ephemeral znode needs a global session",
            NoWatcher => "no such watch",
            RequestTimeout => "the request waited too long",
            ReconfigDisabled => "reconfiguration is switched off",
            SessionClosedRequireSaslAuth => "the server insists on SASL",
            QuotaExceeded => "the quota would be exceeded",
            ThrottledOp => "the server has too much to do",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?}, {})", self.words(), *self as i32)
    }
}

impl std::error::Error for ErrorCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_and_an_unknown_one_is_refused() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::try_from(code as i32), Ok(code));
        }
        assert!(ErrorCode::try_from(1).is_err());
    }

    #[test]
    fn the_display_has_words_name_and_number() {
        assert_eq!(ErrorCode::NoNode.to_string(), "no such znode (NoNode, -101)");
    }
}
