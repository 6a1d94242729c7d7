//! `zabra shell` and `zabra bench` as a user runs them, against Apache ZooKeeper.

mod support;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use support::ApacheZooKeeper;

/// `zabra` with `words` behind the server's address, and `input` on standard input.
fn zabra(server: &str, tool: &str, words: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_zabra"))
        .args([tool, "-s", server])
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("zabra starts");
    process.stdin.take().expect("it is piped").write_all(input.as_bytes()).expect("zabra reads");
    process.wait_with_output().expect("zabra ends")
}

/// What a shell command prints, and its exit code.
fn shell(server: &str, words: &[&str]) -> (String, Option<i32>) {
    // A Java process on a busy machine takes its time to start.
    let words = [&["--connect-timeout-ms", "60000"], words].concat();
    let output = zabra(server, "shell", &words, "");
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).expect("text"), output.status.code())
}

#[test]
#[ignore = "needs Apache ZooKeeper: ./test apache"]
fn the_shell_speaks_as_zookeepers_own_and_tells_failure_by_its_exit_code() {
    let apache = ApacheZooKeeper::start();
    let server = apache.address();
    let ok = |text: &str| (format!("{text}\n"), Some(0));
    let failed = |text: &str| (format!("{text}\n"), Some(1));
    assert_eq!(shell(&server, &["create", "/a", "hello world"]), ok("Created /a"));
    assert_eq!(shell(&server, &["create", "/a"]), failed("Node already exists: /a"));
    assert_eq!(shell(&server, &["get", "/a"]), ok("hello world"));
    assert_eq!(shell(&server, &["create", "-s", "/a/n-"]), ok("Created /a/n-0000000000"));
    assert_eq!(shell(&server, &["create", "/a/n-0000000000/b"]), ok("Created /a/n-0000000000/b"));
    assert_eq!(shell(&server, &["ls", "-R", "/a"]), ok("/a\n/a/n-0000000000\n/a/n-0000000000/b"));
    assert_eq!(shell(&server, &["ls", "/"]), ok("[a, zookeeper]"));
    assert_eq!(shell(&format!("{server}/a"), &["ls", "/"]), ok("[n-0000000000]"));
    assert_eq!(shell(&server, &["getAcl", "/a"]), ok("'world,'anyone\n: cdrwa"));
    assert_eq!(shell(&server, &["set", "-v", "5", "/a", "x"]), failed("version No is not valid : /a"));
    let (stat, code) = shell(&server, &["set", "-s", "-v", "0", "/a", "x"]);
    assert!(
        code == Some(0) && stat.contains("dataVersion = 1\n") && stat.contains("dataLength = 1\n"),
        "{stat}"
    );
    assert_eq!(shell(&server, &["delete", "/a"]), failed("Node not empty: /a"));
    assert_eq!(shell(&server, &["setquota", "-n", "9", "/a"]), (String::new(), Some(0)));
    assert_eq!(
        shell(&server, &["setquota", "-B", "0", "/a"]),
        ok("[Warning]: the bytes quota you create is less than the existing bytes:1")
    );
    let refused = "/a/n-0000000000 has a parent /a which has a quota";
    assert_eq!(shell(&server, &["setquota", "-n", "1", "/a/n-0000000000"]), failed(refused));
    assert_eq!(shell(&server, &["setquota", "-n", "1", "/none"]), failed("/none does not exist."));
    let quota = "absolute path is /zookeeper/quota/a/zookeeper_limits\n\
                 Output quota for /a count=9,bytes=-1=;byteHardLimit=0;countHardLimit=-1\n\
                 Output stat for /a count=3,bytes=1";
    assert_eq!(shell(&server, &["listquota", "/a"]), ok(quota));
    assert_eq!(shell(&server, &["delquota", "-B", "/a"]), (String::new(), Some(0)));
    assert!(shell(&server, &["listquota", "/a"]).0.contains("byteHardLimit=-1"));
    assert_eq!(shell(&server, &["delquota", "/a"]), (String::new(), Some(0)));
    assert_eq!(shell(&server, &["listquota", "/a"]), failed("quota for /a does not exist."));
    assert_eq!(shell(&server, &["ls", "/zookeeper/quota"]), ok("[]"));
    assert_eq!(shell(&server, &["deleteall", "/a"]), (String::new(), Some(0)));
    assert_eq!(shell(&server, &["stat", "/a"]), failed("Node does not exist: /a"));

    let lines = "# a comment\ncreate -e /mine 'a b'\naddauth digest me:secret\nget -w /mine\nnonsense\nset /mine c\nsync /\n";
    let output = zabra(&server, "shell", &[], lines);
    let stdout = String::from_utf8(output.stdout).expect("text");
    assert!(stdout.starts_with("Created /mine\na b\n"), "{stdout}");
    assert!(stdout.contains("type:NodeDataChanged path:/mine") && stdout.contains("Sync is OK"), "{stdout}");
    assert_eq!(output.status.code(), Some(1), "one of the lines failed");
    assert_eq!(shell(&server, &["ls", "/"]), ok("[zookeeper]"));
}

#[test]
#[ignore = "needs Apache ZooKeeper: ./test apache"]
fn the_load_tool_measures_every_kind_of_request_and_leaves_nothing_behind() {
    let apache = ApacheZooKeeper::start();
    let server = apache.address();
    assert_eq!(shell(&server, &["ls", "/"]).1, Some(0));
    let pid = apache.pid().to_string();
    let mix = "get,set,create,delete,exists,children,ephemeral";
    let load = ["-c", "3", "-f", "4", "-m", mix, "--keys", "50", "--value-bytes", "100"];
    let time = ["--duration", "500ms", "--warmup", "100ms", "--json", "--pid", &pid];
    let output = zabra(&server, "bench", &[&load[..], &time].concat(), "");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for kind in mix.split(',') {
        assert!(report["kinds"][kind]["operations"].as_u64() > Some(0), "{report:#}");
    }
    assert_eq!(report["errors"], serde_json::json!({}));
    assert!(report["processes"][0]["rss_bytes"].as_u64() > Some(0), "{report:#}");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(shell(&server, &["ls", "/"]).0, "[zookeeper]\n");
}
