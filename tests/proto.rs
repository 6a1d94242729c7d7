//! The generated code is what the .proto files say. `ZABRA_UPDATE=1 cargo test --test proto` writes it anew.

use std::path::{Path, PathBuf};

fn check(proto: &str, generated: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile([proto], [root.join("proto")]).expect("the .proto file is valid");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code can be generated");
    let made: PathBuf = std::fs::read_dir(out.path())
        .expect("generated files")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .expect("one generated file");
    let fresh = std::fs::read_to_string(made).expect("readable");
    let committed = root.join(generated);
    if std::env::var_os("ZABRA_UPDATE").is_some() {
        std::fs::write(&committed, &fresh).expect("writable");
    }
    let old = std::fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        old == fresh,
        "{generated} is not what proto/{proto} makes: run `ZABRA_UPDATE=1 cargo test --test proto`"
    );
}

#[test]
fn the_generated_code_of_transactions_is_current() {
    check("txn.proto", "src/txn/generated.rs");
}

#[test]
fn the_generated_code_of_peer_messages_is_current() {
    check("peer.proto", "src/server/peer/generated.rs");
}
