//! Any bytes as a snapshot, and valid ones with something changed, in the file or in the blocks that it is made of. What
//! can be decoded verifies without being decompressed, and a state that can be loaded writes a snapshot of itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zabra::ids::{Epoch, Zxid};
use zabra::replica::{State, StateLoadError};
use zabra::storage::{SnapshotEncoder, decode_snapshot, verify_snapshot};
use zabra::txn::{Acl, Create, CreateSession, Op, Ops, Txn, op, txn::Body};
use zabra_fuzz::edit;
use zabra_fuzz::memory::{Bound, bounded};

/// What the blocks of one small file may come to at most before compression: zeros shrink to almost nothing.
const RAW_BYTES_MAX: u64 = 256 << 20;

type Flips = Vec<(u16, u8)>;

fuzz_target!(|data: (Vec<(u8, u8)>, Vec<(u8, Flips, Option<u16>)>, Flips, Option<u16>, &[u8])| {
    let (znodes, block_edits, flips, length, tail) = data;
    judge(tail);
    let state = state(&znodes);
    let mut blocks: Vec<Vec<u8>> = state.image().blocks().collect();
    let file = encode(&state, blocks.clone());
    let (summary, read) = decode_snapshot(&file).expect("it was just encoded");
    assert_eq!((summary.digest, &read), (state.digest(), &blocks));
    judge(&edit([&file, tail].concat(), &flips, length));
    for (which, flips, length) in block_edits {
        let which = usize::from(which) % blocks.len();
        blocks[which] = edit(std::mem::take(&mut blocks[which]), &flips, length);
    }
    blocks.push(tail.to_vec());
    judge(&encode(&state, blocks));
});

/// A state with a session and these znodes: below which of those before, and the length of its data.
fn state(znodes: &[(u8, u8)]) -> State {
    let mut state = State::new(1);
    let mut paths = vec![String::new()];
    let password = vec![7; 16].into();
    let session = CreateSession { timeout_ms: 4000, password, ..CreateSession::default() };
    let mut bodies = vec![Body::CreateSession(session)];
    for (number, (parent, length)) in znodes.iter().take(64).enumerate() {
        let path = format!("{}/{number}", paths[usize::from(*parent) % paths.len()]);
        let data = Some(vec![*parent; usize::from(*length)].into());
        let acl = vec![Acl { perms: 31, scheme: "world".to_owned(), id: "anyone".to_owned() }];
        let create = Create { path: path.clone(), data, acl, ..Create::default() };
        bodies.push(Body::Ops(Ops { ops: vec![Op { op: Some(op::Op::Create(create)) }] }));
        paths.push(path);
    }
    for (number, body) in (1..).zip(bodies) {
        let txn = Txn { session_id: 1, body: Some(body), ..Txn::default() };
        state.apply(Zxid::new(Epoch(1), number), &txn).expect("it can be applied");
    }
    state
}

fn encode(state: &State, blocks: Vec<Vec<u8>>) -> Vec<u8> {
    let encoder = SnapshotEncoder::new(state.zxid(), state.digest(), state.version(), blocks.into_iter())
        .expect("memory");
    encoder.collect::<Result<Vec<_>, _>>().expect("memory").concat()
}

/// Blocks are compressed, up to some thousand to one. The constant is the room that a tree makes beforehand for as many
/// znodes as its header promises, which is bounded.
const BOUND: Bound = Bound { constant_bytes: 128 << 20, factor: 16384 };

fn judge(bytes: &[u8]) {
    bounded(BOUND, bytes.len(), || judge_bounded(bytes));
}

fn judge_bounded(bytes: &[u8]) {
    let verified = verify_snapshot(bytes);
    let Ok((summary, blocks)) = decode_snapshot(bytes) else { return };
    assert_eq!(verified.expect("it decodes"), summary);
    let raw_bytes: u64 = blocks.iter().map(|block| block.len() as u64).sum();
    assert!(raw_bytes == summary.raw_bytes && raw_bytes <= RAW_BYTES_MAX);
    let load = |digest, blocks: &[Vec<u8>]| {
        State::from_blocks(1, summary.zxid, digest, summary.version, blocks.iter().map(Ok::<_, String>))
    };
    let state = match load(summary.digest, &blocks) {
        Ok(state) => state,
        // The content is another one, which may be fine by itself.
        Err(StateLoadError::Digest { actual, .. }) => {
            load(actual, &blocks).expect("only its digest was another")
        }
        Err(_) => return,
    };
    let written: Vec<Vec<u8>> = state.image().blocks().collect();
    let again = load(state.digest(), &written).expect("a state that was loaded");
    assert_eq!(again.image().blocks().collect::<Vec<_>>(), written);
}
