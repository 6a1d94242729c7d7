//! The four-letter words, answered in ZooKeeper's words so that its monitoring tools understand them.

use std::fmt::{Display, Write as _};

use super::lists::{self, ClientLine, Lists};
use super::machine::{envi, files_bytes, open_files, open_files_max};
use super::stats::Stats;
use crate::config::Settings;
use crate::ids::{Version, Zxid};
use crate::membership::Membership;
use crate::replica::NamespaceQuota;

/// The ZooKeeper whose protocol and answers these are; tools read it. The version of this server stands behind it.
const VERSION: &str = concat!("3.9.5-zabra-", env!("CARGO_PKG_VERSION"));

const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// A question that takes the place of a client's first frame. Any other four bytes are the length of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(&'static str);

/// All that ZooKeeper knows.
const WORDS: [&str; 18] = [
    "conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srst", "srvr",
    "stat", "stmk", "wchc", "wchp", "wchs",
];

impl Word {
    /// The word that a client's first four bytes are.
    pub fn parse(bytes: [u8; 4]) -> Option<Word> {
        WORDS.into_iter().find(|word| word.as_bytes() == bytes).map(Word)
    }

    /// How many bytes follow the word.
    pub fn argument_bytes(self) -> usize {
        if self == SET_TRACE_MASK { 8 } else { 0 }
    }

    /// Bytes of the files in `dataDir` and in `dataLogDir`, if the answer tells them: 0 otherwise. Reads folders.
    pub fn folder_bytes(self, settings: &Settings) -> [u64; 2] {
        match self.0 {
            "conf" | "dirs" => [&settings.data_dir, &settings.data_log_dir].map(|folder| files_bytes(folder)),
            _ => [0; 2],
        }
    }

    /// True if [`View::quotas`] has a part in the answer.
    pub fn tells_quotas(self) -> bool {
        self.0 == "mntr"
    }
}

const SET_TRACE_MASK: Word = Word("stmk");
const RESET_CONNECTIONS: Word = Word("crst");

/// What the server is to its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// no leader is known, so nobody is served
    Looking,
    /// no leader is known, and clients that only read are served
    ReadOnly,
    /// alone
    Standalone,
    /// follows
    Follower,
    /// follows, and does not vote
    Observer,
    /// leads
    Leader {
        /// other servers that are connected
        learners: usize,
        /// followers among them that have the whole history
        followers: usize,
        /// and of these, those that are no members (yet)
        non_voting: usize,
        /// and observers
        observers: usize,
    },
}

/// What the answers tell.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// the configuration
    pub settings: &'a Settings,
    /// the servers of the ensemble
    pub membership: &'a Membership,
    /// the counters
    pub stats: &'a Stats,
    /// role
    pub mode: Mode,
    /// observers that this follower feeds; 0 if it is none
    pub fed_observers: usize,
    /// the newest transaction applied
    pub last_zxid: Zxid,
    /// of the whole state at that transaction
    pub digest: u64,
    /// znodes
    pub nodes: usize,
    /// those of them that go with a session
    pub ephemerals: usize,
    /// watches of clients of this server
    pub watches: usize,
    /// sessions of the ensemble
    pub sessions: usize,
    /// sessions of the ensemble that this server ended for their silence
    pub sessions_expired: u64,
    /// how often its state was not that of its leader
    pub digest_mismatches: u64,
    /// sessions that only this server knows
    pub local_sessions: usize,
    /// bytes of paths and data
    pub data_bytes: u64,
    /// what a server must speak to have the data
    pub data_version: Version,
    /// what all servers that were heard speak
    pub ensemble_version: Version,
    /// its votes count
    pub may_vote: bool,
    /// voters that are heard and whose votes do not count
    pub voters_without_vote: usize,
    /// voters that are not heard
    pub voters_unheard: usize,
    /// sets of damaged files that are kept
    pub damaged_sets: usize,
    /// as the word told
    pub folder_bytes: [u64; 2],
    /// quotas, those of one child of the root together
    pub quotas: &'a [NamespaceQuota],
    /// clients of this server
    pub clients: &'a [ClientLine],
    /// what can be listed
    pub lists: Lists<'a>,
}

impl View<'_> {
    /// True if the word, asked now, is to reset what is counted for each connection.
    pub fn resets_connections(&self, word: Word) -> bool {
        word == RESET_CONNECTIONS
            && self.mode != Mode::Looking
            && self.settings.four_letter_words.allows(word.0)
    }
}

/// The answer to a word and what followed it. Those that are not in the whitelist are refused, as in ZooKeeper.
/// `crst`, the one word that concerns the connections themselves, is carried out by the caller.
pub fn answer(word: Word, argument: &[u8], view: &View<'_>) -> String {
    let Word(word) = word;
    // Clients that wait for a server with a leader ask it.
    let is_needed = word == "isro" && view.settings.read_only_mode;
    if !is_needed && !view.settings.four_letter_words.allows(word) {
        return format!("{word} is not executed because it is not in the whitelist.\n");
    }
    let serving = view.mode != Mode::Looking;
    match word {
        "ruok" => "imok".to_owned(),
        "isro" => match view.mode {
            Mode::Looking => "null",
            Mode::ReadOnly => "ro",
            Mode::Standalone | Mode::Follower | Mode::Observer | Mode::Leader { .. } => "rw",
        }
        .to_owned(),
        "envi" => envi(VERSION),
        "gtmk" => view.stats.trace_mask().to_string(),
        "stmk" => {
            let mask = argument.try_into().map_or(0, i64::from_be_bytes);
            view.stats.set_trace_mask(mask);
            mask.to_string()
        }
        "mntr" if !serving => format!("{NOT_SERVING}\n{}", health(view)),
        _ if !serving => format!("{NOT_SERVING}\n"),
        "conf" => view.settings.conf_text(view.membership, view.folder_bytes[0], view.folder_bytes[1]),
        "mntr" => mntr(view),
        "srvr" => srvr(view, false),
        "stat" => srvr(view, true),
        "cons" => lists::cons(view.clients),
        "dump" => lists::dump(&view.lists, view.clients),
        "hash" => lists::hash(&view.lists),
        "wchs" => lists::watch_summary(view.lists.watches),
        "wchp" => lists::watches_by_path(&view.lists),
        "wchc" => lists::watches_by_session(&view.lists),
        "dirs" => {
            let [data, log] = view.folder_bytes;
            format!("datadir_size: {data}\nlogdir_size: {log}\n")
        }
        "srst" => {
            view.stats.reset();
            "Server stats reset.\n".to_owned()
        }
        "crst" => "Connection stats reset.\n".to_owned(),
        _ => unreachable!("a word is one of the list"),
    }
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Looking => "leaderelection",
            Mode::ReadOnly => "read-only",
            Mode::Standalone => "standalone",
            Mode::Follower => "follower",
            Mode::Observer => "observer",
            Mode::Leader { .. } => "leader",
        }
    }
}

fn srvr(view: &View<'_>, with_clients: bool) -> String {
    let stats = view.stats;
    let mut text = format!("Zookeeper version: {VERSION}\n");
    if view.mode == Mode::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    if with_clients {
        text.push_str("Clients:\n");
        for client in view.clients {
            let _ = client.write_brief(&mut text);
            text.push_str(")\n");
        }
        text.push('\n');
    }
    let latency = (stats.latency_ms_min(), stats.latency_ms_mean(), stats.latency_ms_max());
    let _ = writeln!(text, "Latency min/avg/max: {}/{:?}/{}", latency.0, latency.1, latency.2);
    let _ = writeln!(text, "Received: {}", stats.received());
    let _ = writeln!(text, "Sent: {}", stats.sent());
    let _ = writeln!(text, "Connections: {}", view.clients.len());
    let _ = writeln!(text, "Outstanding: {}", stats.outstanding());
    let _ = writeln!(text, "Zxid: {:#x}", view.last_zxid.0);
    let _ = writeln!(text, "Mode: {}", view.mode.name());
    let _ = writeln!(text, "Node count: {}", view.nodes);
    if matches!(view.mode, Mode::Leader { .. }) {
        let [last, min, max] = stats.proposal_sizes();
        let _ = writeln!(text, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
    text
}

fn mntr(view: &View<'_>) -> String {
    let stats = view.stats;
    let mut text = String::new();
    let mut line = |key: &str, value: &dyn Display| {
        let _ = writeln!(text, "zk_{key}\t{value}");
    };
    line("version", &VERSION);
    line("server_state", &view.mode.name());
    match view.mode {
        Mode::Follower => {
            line("peer_state", &"following - broadcast");
            line("synced_observers", &view.fed_observers);
        }
        Mode::Observer => line("peer_state", &"observing - broadcast"),
        Mode::Leader { .. } => line("peer_state", &"leading - broadcast"),
        Mode::Looking | Mode::ReadOnly | Mode::Standalone => {}
    }
    line("avg_latency", &format_args!("{:?}", stats.latency_ms_mean()));
    line("max_latency", &stats.latency_ms_max());
    line("min_latency", &stats.latency_ms_min());
    line("packets_received", &stats.received());
    line("packets_sent", &stats.sent());
    line("num_alive_connections", &view.clients.len());
    line("outstanding_requests", &stats.outstanding());
    line("uptime", &stats.uptime_ms());
    line("znode_count", &view.nodes);
    line("watch_count", &view.watches);
    line("ephemerals_count", &view.ephemerals);
    line("approximate_data_size", &view.data_bytes);
    line("global_sessions", &view.sessions);
    line("local_sessions", &view.local_sessions);
    line("open_file_descriptor_count", &open_files());
    line("max_file_descriptor_count", &open_files_max());
    line("connection_drop_probability", &"0.0");
    line("connection_rejected", &stats.rejected());
    line("auth_failed_count", &stats.auth_failed());
    let [last, min, max] = stats.response_sizes();
    line("last_client_response_size", &last);
    line("max_client_response_size", &max);
    line("min_client_response_size", &min);
    line("stale_sessions_expired", &view.sessions_expired);
    line("digest_mismatches_count", &view.digest_mismatches);
    line("outstanding_tls_handshake", &stats.handshakes());
    line("unsuccessful_handshake", &stats.handshakes_failed());
    line("tls_handshake_exceeded", &stats.handshakes_exceeded());
    if let Mode::Leader { learners, followers, non_voting, observers } = view.mode {
        let [last, min, max] = stats.proposal_sizes();
        line("leader_uptime", &stats.leader_uptime_ms().unwrap_or(0));
        line("learners", &learners);
        line("synced_followers", &followers);
        line("synced_non_voting_followers", &non_voting);
        line("synced_observers", &observers);
        line("pending_syncs", &learners.saturating_sub(followers + observers));
        line("last_proposal_size", &last);
        line("max_proposal_size", &max);
        line("min_proposal_size", &min);
    }
    if !view.settings.is_standalone() {
        line("quorum_size", &view.membership.voters().count().max(1));
    }
    view.quotas.iter().for_each(|quota| tell_quota(quota, &mut line));
    line("last_processed_zxid", &format_args!("{:#x}", view.last_zxid.0));
    line("tree_digest", &format_args!("{:016x}", view.digest));
    stats.metrics.write(&mut text);
    text + &health(view)
}

fn tell_quota(quota: &NamespaceQuota, line: &mut impl FnMut(&str, &dyn Display)) {
    let NamespaceQuota { namespace, count_limit, bytes_limit, usage } = quota;
    line(&format!("{namespace}_quota_count_limit_per_namespace"), count_limit);
    line(&format!("{namespace}_quota_bytes_limit_per_namespace"), bytes_limit);
    line(&format!("{namespace}_quota_count_usage_per_namespace"), &usage.count);
    line(&format!("{namespace}_quota_bytes_usage_per_namespace"), &usage.bytes);
}

/// What keeps a leader away, or would: told by a server that does not serve, too.
fn health(view: &View<'_>) -> String {
    let mut text =
        format!("zk_damaged_sets\t{}\nzk_data_version\t{}\n", view.damaged_sets, view.data_version);
    if !view.settings.is_standalone() {
        let counts = [
            ("ensemble_version", view.ensemble_version.0 as usize),
            ("may_vote", usize::from(view.may_vote)),
            ("voters_without_vote", view.voters_without_vote),
            ("voters_unheard", view.voters_unheard),
        ];
        for (key, value) in counts {
            let _ = writeln!(text, "zk_{key}\t{value}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, Source, parse_text};
    use crate::replica::State;
    use crate::replica::Usage;
    use crate::watch::Watches;

    fn settings(whitelist: &str) -> Settings {
        let text = format!(
            "dataDir=/nonexistent\nclientPort=2181\n4lw.commands.whitelist={whitelist}\n\
             server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\n"
        );
        let source =
            Source { name: "zoo.cfg", text: &text, format: Format::Properties, myid: Some(1), strict: true };
        parse_text(&source).expect("must parse").settings
    }

    fn ask(whitelist: &str, word: &[u8; 4], mode: Mode) -> String {
        let settings = settings(whitelist);
        let stats = Stats::default();
        stats.count_received(7);
        let peer = ([10, 0, 0, 9], 4711).into();
        let clients = [ClientLine { peer, queued: 0, received: 5, sent: 4, session: None }];
        let (state, watches) = (State::new(0), Watches::new(0));
        let usage = Usage { count: 3, bytes: 12 };
        let quotas = [NamespaceQuota { namespace: "app".into(), count_limit: 5, bytes_limit: -1, usage }];
        let view = View {
            settings: &settings,
            membership: &settings.membership(),
            stats: &stats,
            mode,
            fed_observers: 2,
            last_zxid: Zxid(0x1_0000_0002),
            digest: 0xabc,
            nodes: 5,
            ephemerals: 1,
            watches: 2,
            sessions: 3,
            local_sessions: 4,
            sessions_expired: 6,
            digest_mismatches: 0,
            data_bytes: 44,
            data_version: Version(2),
            ensemble_version: Version(3),
            may_vote: true,
            voters_without_vote: 1,
            voters_unheard: 0,
            damaged_sets: 2,
            folder_bytes: [5, 6],
            quotas: &quotas,
            clients: &clients,
            lists: Lists {
                state: &state,
                watches: &watches,
                expiry: None,
                local_expiry: None,
                digests: &|| vec![(Zxid(0x1_0000_0002), 7)],
                session_of: &|_| None,
            },
        };
        let argument = 0x1234_i64.to_be_bytes();
        let word = Word::parse(*word).expect("a word");
        answer(word, &argument[..word.argument_bytes()], &view)
    }

    const LEADER: Mode = Mode::Leader { learners: 4, followers: 2, non_voting: 1, observers: 1 };

    #[test]
    fn srvr_and_stat_are_those_of_zookeeper() {
        let common = "Latency min/avg/max: 0/0.0/0\nReceived: 7\nSent: 0\nConnections: 1\nOutstanding: 0\n\
                      Zxid: 0x100000002\nMode: leader\nNode count: 5\nProposal sizes last/min/max: -1/-1/-1\n";
        let version = format!("Zookeeper version: {VERSION}\n");
        assert_eq!(ask("", b"srvr", LEADER), format!("{version}{common}"));
        let clients = "Clients:\n /10.0.0.9:4711[1](queued=0,recved=5,sent=4)\n\n";
        assert_eq!(ask("stat", b"stat", LEADER), format!("{version}{clients}{common}"));
        assert!(ask("", b"srvr", Mode::Follower).ends_with("Mode: follower\nNode count: 5\n"));
        assert!(ask("", b"srvr", Mode::Observer).ends_with("Mode: observer\nNode count: 5\n"));
    }

    #[test]
    fn mntr_has_one_key_and_value_in_a_line() {
        let text = ask("*", b"mntr", LEADER);
        let lines: Vec<(&str, &str)> =
            text.lines().map(|line| line.split_once('\t').expect("a tab")).collect();
        assert!(lines.iter().all(|(key, value)| key.starts_with("zk_") && !value.is_empty()));
        for expected in [
            ("zk_server_state", "leader"),
            ("zk_peer_state", "leading - broadcast"),
            ("zk_avg_latency", "0.0"),
            ("zk_znode_count", "5"),
            ("zk_synced_followers", "2"),
            ("zk_synced_non_voting_followers", "1"),
            ("zk_stale_sessions_expired", "6"),
            ("zk_last_client_response_size", "-1"),
            ("zk_p999_readlatency", "0"),
            ("zk_synced_observers", "1"),
            ("zk_pending_syncs", "1"),
            ("zk_quorum_size", "3"),
            ("zk_last_processed_zxid", "0x100000002"),
            ("zk_tree_digest", "0000000000000abc"),
            ("zk_data_version", "2"),
            ("zk_ensemble_version", "3"),
            ("zk_may_vote", "1"),
            ("zk_damaged_sets", "2"),
            ("zk_app_quota_count_limit_per_namespace", "5"),
            ("zk_app_quota_bytes_limit_per_namespace", "-1"),
            ("zk_app_quota_count_usage_per_namespace", "3"),
            ("zk_app_quota_bytes_usage_per_namespace", "12"),
        ] {
            assert!(lines.contains(&expected), "{expected:?} is missing in {text}");
        }
    }

    #[test]
    fn a_follower_tells_how_many_observers_it_feeds() {
        assert!(ask("*", b"mntr", Mode::Follower).contains("\nzk_synced_observers\t2\n"));
        assert!(!ask("*", b"mntr", Mode::Observer).contains("zk_synced_observers"));
    }

    #[test]
    fn what_is_not_in_the_whitelist_is_refused_by_name() {
        let refused = "ruok is not executed because it is not in the whitelist.\n";
        assert_eq!(ask("", b"ruok", Mode::Follower), refused);
        assert_eq!(ask("ruok", b"ruok", Mode::Follower), "imok");
        assert_eq!(ask("*", b"wchc", Mode::Follower), "\n");
    }

    #[test]
    fn a_server_without_a_leader_says_that_it_does_not_serve() {
        for word in [b"srvr", b"stat", b"conf"] {
            assert_eq!(ask("*", word, Mode::Looking), format!("{NOT_SERVING}\n"));
        }
        let missing = "zk_damaged_sets\t2\nzk_data_version\t2\nzk_ensemble_version\t3\nzk_may_vote\t1\nzk_voters_without_vote\t1\nzk_voters_unheard\t0\n";
        assert_eq!(ask("*", b"mntr", Mode::Looking), format!("{NOT_SERVING}\n{missing}"));
        assert_eq!(ask("*", b"isro", Mode::Looking), "null");
        assert_eq!(ask("*", b"isro", Mode::Follower), "rw");
        assert_eq!(ask("*", b"isro", Mode::ReadOnly), "ro");
        assert!(
            ask("*", b"srvr", Mode::ReadOnly).contains("\nREAD-ONLY mode; serving only read-only clients\n")
        );
        assert_eq!(ask("*", b"ruok", Mode::Looking), "imok");
        assert!(ask("*", b"conf", Mode::Follower).starts_with("clientPort=2181\n"));
    }

    #[test]
    fn every_word_has_an_answer() {
        for word in WORDS {
            let word: [u8; 4] = word.as_bytes().try_into().expect("four letters");
            let answer = ask("*", &word, Mode::Follower);
            assert!(!answer.is_empty() && !answer.contains("whitelist"), "{answer}");
        }
        assert_eq!(ask("*", b"gtmk", Mode::Follower), "306");
        assert_eq!(ask("*", b"stmk", Mode::Follower), "4660");
        assert_eq!(ask("*", b"srst", Mode::Follower), "Server stats reset.\n");
        assert_eq!(ask("*", b"crst", Mode::Follower), "Connection stats reset.\n");
        assert_eq!(ask("*", b"hash", Mode::Follower), "100000002: 7\n");
        assert_eq!(ask("*", b"wchs", Mode::Follower), "0 connections watching 0 paths\nTotal watches:0\n");
        assert_eq!(ask("*", b"dirs", Mode::Follower), "datadir_size: 5\nlogdir_size: 6\n");
        let environment = ask("*", b"envi", Mode::Looking);
        assert!(environment.starts_with("Environment:\nzookeeper.version=3.9.5-zabra-"), "{environment}");
    }

    #[test]
    fn lengths_of_frames_are_no_words() {
        assert_eq!(Word::parse([0, 0, 0, 44]), None);
        assert_eq!(Word::parse(*b"RUOK"), None);
        assert!(Word::parse(*b"cons").is_some());
    }
}
