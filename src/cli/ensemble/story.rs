//! What happens in the ensemble, told line by line: reports in, events out, no clock and no process.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitStatus;
use std::time::Instant;

use serde::Serialize;

use super::{Report, ServerPlan};

/// A line for the user. The words are an interface: programs read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    Started { server: u8, pid: u32, clients: String, log: String },
    Restarted { server: u8, pid: u32, clients: String, log: String },
    Leader { server: u8 },
    Follower { server: u8 },
    Standalone { server: u8 },
    NotServing { server: u8 },
    Ended { server: u8, exit_code: Option<i32>, signal: Option<i32> },
    Serving { connect: String },
    Stopping,
    Stopped,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Event::Started { server, pid, clients, log } => {
                write!(f, "server {server}: started, pid {pid}, clients {clients}, log {log}")
            }
            Event::Restarted { server, pid, clients, log } => {
                write!(f, "server {server}: restarted, pid {pid}, clients {clients}, log {log}")
            }
            Event::Leader { server } => write!(f, "server {server}: leader"),
            Event::Follower { server } => write!(f, "server {server}: follower"),
            Event::Standalone { server } => write!(f, "server {server}: standalone"),
            Event::NotServing { server } => write!(f, "server {server}: not serving"),
            Event::Ended { server, exit_code: Some(code), .. } => {
                write!(f, "server {server}: ended, exit code {code}")
            }
            Event::Ended { server, signal: Some(signal), .. } => {
                write!(f, "server {server}: ended, signal {signal}")
            }
            Event::Ended { server, .. } => write!(f, "server {server}: ended"),
            Event::Serving { connect } => write!(f, "serving: {connect}"),
            Event::Stopping => f.write_str("stopping"),
            Event::Stopped => f.write_str("stopped"),
        }
    }
}

/// What a server says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Leader,
    Follower,
    Standalone,
}

impl Mode {
    fn event(self, server: u8) -> Event {
        match self {
            Mode::Leader => Event::Leader { server },
            Mode::Follower => Event::Follower { server },
            Mode::Standalone => Event::Standalone { server },
        }
    }
}

/// What is known of one server.
struct Server {
    clients: String,
    log: String,
    starts: u32,
    running: bool,
    mode: Option<Mode>,
    /// Ended, and nobody will restart it.
    gone: bool,
}

/// The ensemble as last reported.
pub(super) struct Story {
    servers: BTreeMap<u8, Server>,
    told_serving: bool,
    stopping: bool,
}

impl Story {
    pub fn new(plans: &[ServerPlan]) -> Story {
        let server = |plan: &ServerPlan| Server {
            clients: plan.client.to_string(),
            log: plan.log.display().to_string(),
            starts: 0,
            running: false,
            mode: None,
            gone: false,
        };
        let servers = plans.iter().map(|plan| (plan.id, server(plan))).collect();
        Story { servers, told_serving: false, stopping: false }
    }

    /// What there is to say about `report`; an error if a server could not even be started.
    pub fn tell(&mut self, report: Report) -> anyhow::Result<Vec<Event>> {
        let mut events = Vec::new();
        match report {
            Report::Started { server, pid } => events.push(self.on_started(server, pid)),
            Report::Mode { server, mode } => events.extend(self.on_mode(server, mode)),
            Report::Ended { server, status } => events.push(self.on_ended(server, status)),
            Report::Gone { server } => self.server(server).gone = true,
            Report::CannotStart { server, error } => {
                anyhow::bail!("server {server} cannot be started: {error}");
            }
        }
        if !self.told_serving && self.servers.values().all(|server| server.mode.is_some()) {
            events.extend(self.serving());
        }
        Ok(events)
    }

    fn server(&mut self, server: u8) -> &mut Server {
        self.servers.get_mut(&server).expect("only planned servers report")
    }

    fn on_started(&mut self, id: u8, pid: u32) -> Event {
        let server = self.server(id);
        server.running = true;
        server.starts += 1;
        let (clients, log) = (server.clients.clone(), server.log.clone());
        if server.starts == 1 {
            Event::Started { server: id, pid, clients, log }
        } else {
            Event::Restarted { server: id, pid, clients, log }
        }
    }

    /// A server that has not served yet is not told to be not serving, nor is one that is being stopped.
    fn on_mode(&mut self, id: u8, mode: Option<Mode>) -> Option<Event> {
        let stopping = self.stopping;
        let server = self.server(id);
        if !server.running || server.mode == mode {
            return None;
        }
        server.mode = mode;
        match mode {
            Some(mode) => Some(mode.event(id)),
            None => (!stopping).then_some(Event::NotServing { server: id }),
        }
    }

    fn on_ended(&mut self, id: u8, status: ExitStatus) -> Event {
        use std::os::unix::process::ExitStatusExt;
        let server = self.server(id);
        server.running = false;
        server.mode = None;
        Event::Ended { server: id, exit_code: status.code(), signal: status.signal() }
    }

    fn serving(&mut self) -> Option<Event> {
        let clients: Vec<&str> = self.servers.values().map(|server| server.clients.as_str()).collect();
        let connect = clients.join(",");
        let first_time = !std::mem::replace(&mut self.told_serving, true);
        first_time.then_some(Event::Serving { connect })
    }

    /// True if a quorum serves, and the connect string is held back for the others.
    pub fn waits_for_stragglers(&self) -> bool {
        let serving = self.servers.values().filter(|server| server.mode.is_some()).count();
        !self.told_serving && serving > self.servers.len() / 2
    }

    /// Tells the connect string if a quorum serves.
    pub fn stop_waiting_for_all(&mut self) -> Vec<Event> {
        if self.waits_for_stragglers() { self.serving().into_iter().collect() } else { Vec::new() }
    }

    pub fn stop(&mut self) -> Vec<Event> {
        let first_time = !std::mem::replace(&mut self.stopping, true);
        first_time.then_some(Event::Stopping).into_iter().collect()
    }

    pub fn stopped(&self) -> Vec<Event> {
        vec![Event::Stopped]
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// True if no server runs and none will.
    pub fn all_gone(&self) -> bool {
        self.servers.values().all(|server| server.gone)
    }
}

/// Writes events as text or as JSON. A reader that went away does not end the ensemble.
pub(super) struct Printer {
    json: bool,
    started: Instant,
}

impl Printer {
    pub fn new(json: bool) -> Printer {
        Printer { json, started: Instant::now() }
    }

    pub fn print_all(&mut self, events: Vec<Event>) {
        let mut out = std::io::stdout().lock();
        for event in events {
            let _ = writeln!(out, "{}", self.line(&event)).and_then(|()| out.flush());
        }
    }

    fn line(&self, event: &Event) -> String {
        #[derive(Serialize)]
        struct Timed<'a> {
            ms: u128,
            #[serde(flatten)]
            event: &'a Event,
        }
        if !self.json {
            return event.to_string();
        }
        let ms = self.started.elapsed().as_millis();
        serde_json::to_string(&Timed { ms, event }).expect("an event is plain data")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::path::PathBuf;

    use super::*;

    fn plans(count: u8) -> Vec<ServerPlan> {
        let plan = |id: u8| ServerPlan {
            id,
            folder: PathBuf::from(format!("e/server-{id}")),
            config: PathBuf::from(format!("e/server-{id}/zoo.cfg")),
            log: PathBuf::from(format!("e/server-{id}/server.log")),
            client: format!("127.0.0.1:{}", 2180 + u16::from(id)).parse().unwrap(),
            quorum_port: 0,
            election_port: 0,
        };
        (1..=count).map(plan).collect()
    }

    /// The lines that the reports make.
    fn told(story: &mut Story, reports: Vec<Report>) -> Vec<String> {
        let events = reports.into_iter().flat_map(|report| story.tell(report).unwrap());
        events.map(|event| event.to_string()).collect()
    }

    fn started(server: u8, pid: u32) -> Report {
        Report::Started { server, pid }
    }

    fn mode(server: u8, mode: Mode) -> Report {
        Report::Mode { server, mode: Some(mode) }
    }

    #[test]
    fn an_ensemble_tells_its_connect_string_once_all_serve() {
        let mut story = Story::new(&plans(3));
        let lines = told(&mut story, vec![started(1, 11), started(2, 12), started(3, 13)]);
        assert_eq!(lines[1], "server 2: started, pid 12, clients 127.0.0.1:2182, log e/server-2/server.log");
        let silent = Report::Mode { server: 1, mode: None };
        assert_eq!(told(&mut story, vec![silent, mode(3, Mode::Leader)]), ["server 3: leader"]);
        assert!(!story.waits_for_stragglers());
        let lines = told(&mut story, vec![mode(1, Mode::Follower)]);
        assert_eq!(lines, ["server 1: follower"]);
        assert!(story.waits_for_stragglers());
        assert_eq!(
            told(&mut story, vec![mode(1, Mode::Follower), mode(2, Mode::Follower)]),
            ["server 2: follower", "serving: 127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"]
        );
        assert!(!story.waits_for_stragglers());
        assert_eq!(story.stop_waiting_for_all(), []);
    }

    #[test]
    fn a_quorum_is_enough_when_waiting_ends() {
        let mut story = Story::new(&plans(3));
        let reports = vec![started(1, 11), started(2, 12), mode(1, Mode::Leader), mode(2, Mode::Follower)];
        told(&mut story, reports);
        let connect = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183".to_string();
        assert_eq!(story.stop_waiting_for_all(), [Event::Serving { connect }]);
        assert_eq!(story.stop_waiting_for_all(), []);
    }

    #[test]
    fn a_killed_leader_is_replaced_restarted_and_follows() {
        let mut story = Story::new(&plans(1));
        told(&mut story, vec![started(1, 11), mode(1, Mode::Standalone)]);
        let killed = Report::Ended { server: 1, status: ExitStatus::from_raw(9) };
        let late = mode(1, Mode::Standalone);
        assert_eq!(
            told(&mut story, vec![killed, late, started(1, 12), mode(1, Mode::Standalone)]),
            [
                "server 1: ended, signal 9",
                "server 1: restarted, pid 12, clients 127.0.0.1:2181, log e/server-1/server.log",
                "server 1: standalone"
            ]
        );
        let failed = Report::Ended { server: 1, status: ExitStatus::from_raw(2 << 8) };
        assert_eq!(told(&mut story, vec![failed]), ["server 1: ended, exit code 2"]);
        assert!(!story.all_gone());
        told(&mut story, vec![Report::Gone { server: 1 }]);
        assert!(story.all_gone());
    }

    #[test]
    fn a_server_that_stops_serving_is_told_unless_all_are_being_stopped() {
        let mut story = Story::new(&plans(1));
        let silent = || Report::Mode { server: 1, mode: None };
        told(&mut story, vec![started(1, 11), mode(1, Mode::Standalone)]);
        assert_eq!(told(&mut story, vec![silent(), silent()]), ["server 1: not serving"]);
        told(&mut story, vec![mode(1, Mode::Standalone)]);
        assert_eq!(story.stop(), [Event::Stopping]);
        assert_eq!(story.stop(), []);
        assert!(told(&mut story, vec![silent()]).is_empty());
    }

    #[test]
    fn json_lines_hold_the_event_and_its_time() {
        let line = Printer::new(true).line(&Event::Ended { server: 2, exit_code: None, signal: Some(9) });
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&value["event"], &value["server"], &value["signal"]),
            (&"ended".into(), &2.into(), &9.into())
        );
        assert!(value["ms"].is_u64() && value["exit_code"].is_null());
    }
}
