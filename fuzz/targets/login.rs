//! What proves who somebody is: the tokens of SASL in both directions, and the file with users that a server reads.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use zabra::config::{Format, Source, parse_text_with};
use zabra::sasl::{DigestMd5Client, Exchange, SaslError, ScramClient, ScramKeys, TOKEN_BYTES_MAX, Users};
use zabra_fuzz::memory::{Bound, bounded};
use zabra_fuzz::script::Script;

static USERS: LazyLock<Users> = LazyLock::new(|| Users::new([("bob", "secret")], &[7; 32]));

/// What is wrong with a file is told for each of its modules.
const BOUND: Bound = Bound { constant_bytes: 64 << 10, factor: 512 };

fuzz_target!(|data: &[u8]| {
    LazyLock::force(&USERS);
    let mut script = Script::new(data);
    bounded(BOUND, data.len(), || match script.byte() % 3 {
        0 => judge_file(&String::from_utf8_lossy(script.bytes())),
        1 => {
            let tokens: Vec<&[u8]> = (0..script.byte() % 4).map(|_| script.bytes()).collect();
            judge_server(&tokens);
        }
        _ => judge_clients(script.bytes(), script.bytes()),
    });
});

fn judge_file(users: &str) {
    let text =
        "dataDir=/d\nclientPort=1\njava.security.auth.login.config=users\nquorum.auth.enableSasl=true\n";
    let source = Source { name: "fuzz", text, format: Format::Properties, myid: None, strict: true };
    match parse_text_with(&source, users) {
        Ok(loaded) => assert!(loaded.settings.auth.quorum.is_some_and(|quorum| !quorum.users.is_empty())),
        Err(error) => assert!(!error.problems.is_empty()),
    }
}

/// The nonce is always the same here, so a seed can hold a proof.
fn judge_server(tokens: &[&[u8]]) {
    let mut exchange = Exchange::new("nonce".to_owned());
    let mut is_over = false;
    for token in tokens {
        match exchange.respond(token, &USERS) {
            Ok(answer) => {
                assert!(!is_over, "nothing is answered behind the end");
                assert!(answer.token.len() <= TOKEN_BYTES_MAX + 256);
                is_over = answer.user.is_some_and(|proved| {
                    assert_eq!(proved.user, "bob");
                    true
                });
            }
            Err(SaslError::TooLong(_)) => assert!(token.len() > TOKEN_BYTES_MAX),
            Err(error) => {
                assert!(!is_over || error == SaslError::Over);
                // It stands in a line of the log.
                assert!(!error.to_string().contains('\n') && error.to_string().len() < 1024);
            }
        }
    }
}

fn judge_clients(first: &[u8], last: &[u8]) {
    let _ =
        DigestMd5Client::new("bob", "secret").respond(first, "cnonce").map(|(_, check)| check.verify(last));
    // One round in place of thousands: how many the server asks for is checked before.
    let keys = |salt: &[u8], _| ScramKeys::new("secret", salt, 1);
    let _ = ScramClient::new("bob", "cnonce", None).respond(first, keys).map(|(_, check)| check.verify(last));
}
