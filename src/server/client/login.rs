//! How a client proves who it is: `auth` and `sasl`, and what becomes of one that must and does not.

use std::fmt::Display;
use std::sync::Arc;

use super::auth::{self, AuthError};
use super::connection::{Connection, End};
use super::outbox::Closing;
use super::requests::{Access, Served};
use super::{ClientContext, nonce};
use crate::admin::Count;
use crate::ids::{Xid, Zxid};
use crate::jute::{
    AuthId, ErrorCode, OpCode, Request, decode_request, encode_empty_reply, encode_error_reply,
    encode_sasl_reply,
};
use crate::sasl::{Answer, Exchange, SaslError};

/// A name that a client sent is cut to this in the log.
const NAME_CHARS_SHOWN: usize = 32;

impl Connection {
    /// A proof of identity counts for all requests behind it.
    pub(super) fn authenticate<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        xid: Xid,
        body: &[u8],
    ) -> Result<Served, End> {
        let request = decode_request(OpCode::Auth as i32, body)
            .map_err(|error| End::Malformed { what: "auth packet", error })?;
        let Request::Auth { scheme, auth: proof } = request else {
            unreachable!("the operation code says what is decoded");
        };
        let ip = self.conn.peer.ip();
        match auth::authenticated(&self.identities, scheme, proof, ip, &context.settings.auth) {
            Ok(identities) => {
                if scheme == "ensemble" {
                    let skips = auth::named_no_ensemble(proof, &context.settings.auth);
                    let count = if skips { Count::EnsembleAuthSkip } else { Count::EnsembleAuthSuccess };
                    context.stats.metrics.count(count);
                }
                self.become_known(context, access, identities);
                encode_empty_reply(&mut self.output, xid, Zxid::ZERO);
            }
            Err(AuthError::Refused) => {
                self.log_refused(&format_args!("scheme {:?}", shown(scheme)));
                encode_error_reply(&mut self.output, xid, Zxid::ZERO, ErrorCode::AuthFailed);
                self.closing = Some(Closing::Behind("it could not authenticate"));
            }
            // An answer would be an error to the client; without one it tries another server.
            Err(AuthError::OtherEnsemble) => {
                context.stats.metrics.count(Count::EnsembleAuthFail);
                let name = String::from_utf8_lossy(proof);
                self.log_refused(&format_args!("it looks for the ensemble {:?}", shown(&name)));
                self.closing = Some(Closing::Now("it looks for another ensemble"));
            }
        }
        Ok(Served::Done)
    }

    /// One step of SASL. It is answered at once, whatever waits.
    pub(super) fn step_sasl<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        xid: Xid,
        body: &[u8],
    ) -> Result<Served, End> {
        let request = decode_request(OpCode::Sasl as i32, body)
            .map_err(|error| End::Malformed { what: "sasl packet", error })?;
        let Request::Sasl { token } = request else {
            unreachable!("the operation code says what is decoded");
        };
        let Some(users) = &context.sasl_users else {
            // ZooKeeper without users has no other answer; clients take it for a failure.
            encode_sasl_reply(&mut self.output, xid, ErrorCode::Ok, None);
            return Ok(Served::Done);
        };
        let exchange = match &mut self.sasl {
            Some(exchange) => exchange,
            // What has no random numbers any more cannot prove anything.
            none => none.insert(Box::new(Exchange::new(nonce().map_err(End::Io)?))),
        };
        let answer = exchange.respond(token, users);
        let answer = answer.and_then(|answer| self.take_sasl_user(context, access, answer));
        match answer {
            Ok(token) => encode_sasl_reply(&mut self.output, xid, ErrorCode::Ok, Some(&token)),
            Err(error) => self.fail_sasl(context, xid, &error),
        }
        Ok(Served::Done)
    }

    /// The token to send, once it is noted who it proves the client to be.
    fn take_sasl_user<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        answer: Answer,
    ) -> Result<Vec<u8>, SaslError> {
        if let Some(proved) = answer.user {
            // Whom it wants to act for is not asked: in ZooKeeper everybody acts for itself as well.
            let identities = auth::with_sasl_user(&self.identities, &proved.user, &context.settings.auth);
            let identities = identities.ok_or(SaslError::Malformed("too many identities"))?;
            self.become_known(context, access, identities);
        }
        Ok(answer.token)
    }

    fn fail_sasl(&mut self, context: &ClientContext, xid: Xid, error: &SaslError) {
        self.log_refused(&format_args!("SASL: {error}"));
        let auth = &context.settings.auth;
        let is_required = auth.required_schemes.iter().any(|scheme| scheme == "sasl");
        if auth.allow_sasl_failed && !is_required {
            return encode_sasl_reply(&mut self.output, xid, ErrorCode::Ok, None);
        }
        let code = if is_required { ErrorCode::SessionClosedRequireSaslAuth } else { ErrorCode::AuthFailed };
        encode_sasl_reply(&mut self.output, xid, code, None);
        self.closing = Some(Closing::Behind("it could not authenticate"));
    }

    fn become_known<'a>(
        &mut self,
        context: &'a ClientContext,
        access: &mut Access<'a>,
        identities: Arc<[AuthId]>,
    ) {
        self.lock_exclusive(context, access).identify(self.conn.id, &identities);
        self.must_authenticate = !auth::are_enough(&identities, &context.settings.auth);
        self.identities = identities;
    }

    /// A request of a client that has not authenticated, and must.
    pub(super) fn refuse_unknown(&mut self, xid: Xid) -> Served {
        self.log_refused(&"it must authenticate first");
        encode_error_reply(&mut self.output, xid, Zxid::ZERO, ErrorCode::SessionClosedRequireSaslAuth);
        self.closing = Some(Closing::Behind("it has not authenticated"));
        Served::Done
    }

    fn log_refused(&self, why: &dyn Display) {
        let peer = self.conn.peer;
        self.context.stats.count_auth_failed();
        self.context.quiet.say(&format!("auth {}", peer.ip()), |more| {
            tracing::warn!("client {peer} could not authenticate: {why}{more}");
        });
    }
}

/// What a client sent, fit for a log line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(NAME_CHARS_SHOWN).collect()
}
