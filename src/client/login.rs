//! SASL, ahead of everything else on a connection.

use super::Error;
use super::connection::Connection;
use super::options::{SaslLogin, SaslMechanism};
use crate::jute::{ErrorCode, OpCode, Reader, ReplyHeader, Request, Response, decode_response};
use crate::sasl::{DigestMd5Client, SaslError, ScramClient, ScramKeys};

/// What came is no step of the mechanism, or does not prove that the server knows the password.
impl From<SaslError> for Error {
    fn from(_: SaslError) -> Error {
        Error::AuthFailed
    }
}

impl Connection {
    /// Proves to be a user, and lets the server prove that it knows the password. `nonce` is one that nobody can guess.
    pub async fn log_in(&mut self, login: &SaslLogin, nonce: &str) -> Result<(), Error> {
        match login.mechanism {
            SaslMechanism::DigestMd5 => {
                let client = DigestMd5Client::new(&login.user, &login.password);
                let challenge = self.exchange(b"").await?;
                let (token, check) = client.respond(&challenge, nonce)?;
                Ok(check.verify(&self.exchange(&token).await?)?)
            }
            SaslMechanism::ScramSha256 => {
                let client = ScramClient::new(&login.user, nonce, None);
                let first = self.exchange(client.first().as_bytes()).await?;
                let keys = |salt: &[u8], rounds| ScramKeys::new(&login.password, salt, rounds);
                let (token, check) = client.respond(&first, keys)?;
                Ok(check.verify(&self.exchange(&token).await?)?)
            }
        }
    }

    /// Sends a token, and waits for the server's. Nothing else is under way.
    async fn exchange(&mut self, token: &[u8]) -> Result<Vec<u8>, Error> {
        let xid = self.push(&Request::Sasl { token });
        loop {
            let Some(frame) = self.next_frame()? else {
                self.io().await.map_err(|_| Error::ConnectionLoss)?;
                continue;
            };
            let header = ReplyHeader::decode(&mut Reader::new(&frame))?;
            if header.xid != xid {
                return Err(Error::UnexpectedResponse);
            }
            if header.err != ErrorCode::Ok as i32 {
                return Err(match ErrorCode::try_from(header.err)? {
                    ErrorCode::AuthFailed | ErrorCode::SessionClosedRequireSaslAuth => Error::AuthFailed,
                    code => Error::Server(code),
                });
            }
            return match decode_response(OpCode::Sasl as i32, &frame[ReplyHeader::WIRE_BYTES..])? {
                Response::Sasl { token: Some(token) } => Ok(token.to_vec()),
                // A server without users, or one that goes on with a client that has failed.
                _ => Err(Error::AuthFailed),
            };
        }
    }
}
