//! How servers authenticate one another: SCRAM-SHA-256 behind the `Hello`, on both ports, by names and passwords of the
//! JAAS file.
//!
//! ZooKeeper speaks DIGEST-MD5 here. Only servers of Zabra talk to each other, so it is the better of the two mechanisms:
//! both sides prove that they know the password, and what each of them keeps at hand is no password. The server that
//! dials says, as part of its proof, which of the servers it is and which it dials, so that nobody can pass the proof on
//! for another one. What follows on the connection is not protected by it: that takes TLS.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::codec::{CodecError, LENGTH_BYTES};
use super::generated::Token;
use super::hello::{HelloError, printable, read_small_frame};
use crate::config::QuorumAuth;
use crate::ids::ServerId;
use crate::sasl::{Exchange, SaslError, ScramClient, ScramKeys, Users};
use crate::server::chance::{nonce, secret};

/// What a server needs to authenticate itself and others.
#[derive(Debug)]
pub struct PeerAuth {
    settings: QuorumAuth,
    users: Users,
}

impl PeerAuth {
    /// Takes some milliseconds for each user. Fails if the system has no random numbers.
    pub fn new(settings: QuorumAuth) -> std::io::Result<PeerAuth> {
        let seed = secret()?;
        let users = settings.users.iter().map(|(name, password)| (&**name, password.expose()));
        Ok(PeerAuth { users: Users::new(users, &seed), settings })
    }

    /// It authenticates where it dials.
    pub(super) fn dials(&self) -> bool {
        self.settings.dials
    }

    /// Whoever dials it has to authenticate.
    pub(super) fn insists(&self) -> bool {
        self.settings.insists
    }

    /// On the side that dialled: proves who this server is, and lets the other one prove that it knows the password.
    pub(super) async fn prove(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        own_id: ServerId,
        peer: ServerId,
    ) -> Result<(), HelloError> {
        let (user, password) = &self.settings.login;
        let client = ScramClient::new(user, &nonce()?, Some(&who_dials_whom(own_id, peer)));
        write_token(stream, client.first().into_bytes()).await?;
        let server_first = read_token(stream).await?;
        let password = password.clone();
        // It hashes thousands of times, which is for no thread that others wait for.
        let derived = tokio::task::spawn_blocking(move || {
            client.respond(&server_first, |salt, rounds| ScramKeys::new(password.expose(), salt, rounds))
        });
        let (token, check) = derived.await.map_err(std::io::Error::other)?.map_err(HelloError::Unproved)?;
        write_token(stream, token).await?;
        check.verify(&read_token(stream).await?).map_err(HelloError::Unproved)
    }

    /// On the side that was dialled: lets `peer` prove that it is, and proves that this server knows the password.
    pub(super) async fn demand(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        own_id: ServerId,
        peer: ServerId,
    ) -> Result<(), HelloError> {
        let mut exchange = Exchange::new(nonce()?);
        loop {
            let token = read_token(stream).await?;
            let answer = exchange.respond(&token, &self.users).and_then(|answer| match &answer.user {
                Some(proved) if proved.authzid.as_deref() != Some(&who_dials_whom(peer, own_id)) => {
                    Err(SaslError::Malformed("the proof is for other servers"))
                }
                _ => Ok(answer),
            });
            match answer {
                Ok(answer) => {
                    write_token(stream, answer.token).await?;
                    if answer.user.is_some() {
                        return Ok(());
                    }
                }
                Err(error) => {
                    let refusal = "it could not authenticate: no such user, or the wrong password".to_owned();
                    write(stream, &Token { token: Bytes::new(), refusal }).await?;
                    return Err(HelloError::Unproved(error));
                }
            }
        }
    }
}

fn who_dials_whom(dials: ServerId, dialled: ServerId) -> String {
    format!("{dials}-{dialled}")
}

async fn write_token(stream: &mut (impl AsyncWrite + Unpin), token: Vec<u8>) -> std::io::Result<()> {
    write(stream, &Token { token: token.into(), refusal: String::new() }).await
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), token: &Token) -> std::io::Result<()> {
    let bytes = token.encode_to_vec();
    let mut frame = BytesMut::with_capacity(LENGTH_BYTES + bytes.len());
    // Shorter than a token of SASL may be.
    frame.put_u32(bytes.len() as u32);
    frame.put_slice(&bytes);
    stream.write_all(&frame).await?;
    stream.flush().await
}

async fn read_token(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, HelloError> {
    let token = Token::decode(read_small_frame(stream).await?).map_err(CodecError::from)?;
    if token.refusal.is_empty() {
        Ok(token.token)
    } else {
        Err(HelloError::RefusedByPeer(printable(&token.refusal)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::directory::Directory;
    use super::super::hello::{Identity, LivePeers, answer, greet};
    use super::*;
    use crate::config::Secret;
    use crate::zab::EpochRecord;

    /// One of two servers that know `peer` by these passwords.
    fn identity(id: u8, knows: &str, says: &str, dials: bool, insists: bool) -> Arc<Identity> {
        let users = BTreeMap::from([("peer".to_owned(), Secret::new(knows))]);
        let login = ("peer".to_owned(), Secret::new(says));
        let auth = PeerAuth::new(QuorumAuth { dials, insists, users, login }).unwrap();
        Arc::new(plain(id).with_auth(Some(auth)))
    }

    fn plain(id: u8) -> Identity {
        Identity::new(ServerId(id), Directory::of(&[1, 2]), &EpochRecord::default())
    }

    /// What 1 that dials and 2 that is dialled make of each other.
    async fn meet(dials: Arc<Identity>, dialled: Arc<Identity>) -> (Result<u8, String>, Result<u8, String>) {
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let live = Arc::new(LivePeers::default());
        let answering = tokio::spawn(async move {
            let live = Arc::new(LivePeers::default());
            answer(&mut far, &dialled, &live, false, |_, _, _| Ok(()))
                .await
                .map(|greeted| greeted.id.0)
                .map_err(|error| error.to_string())
        });
        let greeted = greet(&mut near, &dials, &live, ServerId(2), false).await;
        drop(near);
        (greeted.map(|greeted| greeted.id.0).map_err(|error| error.to_string()), answering.await.unwrap())
    }

    #[tokio::test]
    async fn servers_that_know_the_password_talk_to_each_other() {
        let met = meet(identity(1, "pw", "pw", true, true), identity(2, "pw", "pw", true, true)).await;
        assert_eq!(met, (Ok(2), Ok(1)));
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused_on_both_sides() {
        let (dials, dialled) =
            meet(identity(1, "pw", "wrong", true, false), identity(2, "pw", "pw", true, false)).await;
        assert!(dials.unwrap_err().contains("refused by the other side: it could not authenticate"));
        assert!(dialled.unwrap_err().contains("no such user, or the wrong password"));
    }

    #[tokio::test]
    async fn each_step_of_enabling_it_talks_to_the_one_before_and_no_other() {
        let steps = |id| {
            [
                Arc::new(plain(id)),
                identity(id, "pw", "pw", false, false),
                identity(id, "pw", "pw", true, false),
                identity(id, "pw", "pw", true, true),
            ]
        };
        let (near, far) = (steps(1), steps(2));
        for (one, dials) in near.iter().enumerate() {
            for (other, dialled) in far.iter().enumerate() {
                let met = meet(Arc::clone(dials), Arc::clone(dialled)).await;
                if one.abs_diff(other) <= 1 {
                    assert_eq!(met, (Ok(2), Ok(1)), "{one} dials {other}");
                } else if one >= 2 && other == 0 {
                    assert!(met.0.unwrap_err().contains("quorum.auth.enableSasl"), "{one} dials {other}");
                } else if other == 3 {
                    assert!(
                        met.1.unwrap_err().contains("quorum.auth.serverRequireSasl"),
                        "{one} dials {other}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn a_proof_for_other_servers_is_none() {
        // It dials 2, and says in its proof that it dials 3.
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let auth = |id| {
            let users = BTreeMap::from([("peer".to_owned(), Secret::new("pw"))]);
            let login = ("peer".to_owned(), Secret::new("pw"));
            (ServerId(id), PeerAuth::new(QuorumAuth { dials: true, insists: true, users, login }).unwrap())
        };
        let ((one, dials), (two, dialled)) = (auth(1), auth(2));
        let demanding = tokio::spawn(async move { dialled.demand(&mut far, two, ServerId(1)).await });
        assert!(dials.prove(&mut near, one, ServerId(3)).await.is_err());
        let demanded = demanding.await.unwrap().unwrap_err().to_string();
        assert!(demanded.contains("the proof is for other servers"), "{demanded}");
    }
}
