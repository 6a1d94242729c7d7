//! What other servers may say, in every state: a server of three is brought some way into its life by a partner that
//! behaves, and then hears real messages late, twice or never, and messages that nobody should have sent, bytes and
//! well-formed ones, on links that it has and on new ones. It may refuse, close links, elect anew, or stop itself with a
//! reason unless it leads; it must not panic, nor take memory beyond its bound.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use zabra::ids::{ConnId, ServerId};
use zabra::replica::{Input, Output};
use zabra::server::peer::decode_notification;
use zabra::zab::{LinkId, Role};
use zabra_fuzz::client::Clients;
use zabra_fuzz::ensemble::{Ensemble, PARTNER, TESTED};
use zabra_fuzz::memory::{Bound, bounded};
use zabra_fuzz::script::Script;
use zabra_fuzz::{messages, requests};

/// A step of one byte can make a message, a session, a znode on two servers with their logs and disks. The constant is
/// two servers; a snapshot that is received claims what it likes, and is decoded a block at a time.
const BOUND: Bound = Bound { constant_bytes: 2 << 20, factor: 2048 };

const LINKS_MAX: usize = 8;

/// Steps in which everybody behaves, at most: by then the ensemble serves, and has written something.
const BEHAVED_STEPS_MAX: usize = 250;

fuzz_target!(|data: &[u8]| bounded(BOUND, data.len(), || run(Script::new(data))));

struct Run {
    ensemble: Ensemble,
    clients: Clients,
}

fn run(mut script: Script<'_>) {
    let head = script.byte();
    let (tested, partner) = if head & 1 == 0 { (1, 3) } else { (3, 1) };
    let mut run = Run { ensemble: Ensemble::new(tested, partner), clients: Clients::default() };
    run.until(script.byte());
    if head & 2 != 0 {
        run.write(usize::from(head >> 2));
    }
    while !script.is_done() && run.ensemble.servers.iter().all(|server| server.halted.is_none()) {
        run.step(&mut script);
    }
    for _ in 0..20 {
        run.behave();
    }
}

impl Run {
    /// Everybody behaves for some steps, or until the server under test has said something that marks a state, and for
    /// some more.
    fn until(&mut self, moment: u8) {
        let Some(state) = moment.checked_sub(128) else {
            return (0..2 * moment).for_each(|_| self.behave());
        };
        for _ in 0..BEHAVED_STEPS_MAX {
            if self.ensemble.has_said(state) {
                break;
            }
            self.behave();
        }
        (0..state / 8).for_each(|_| self.behave());
    }

    fn behave(&mut self) {
        let told = self.ensemble.behave();
        self.hear(told);
    }

    /// A client writes, while everybody behaves.
    fn write(&mut self, writes: usize) {
        let conn = self.clients.open();
        let frame = requests::connect(&mut Script::new(&[0xf0]), None);
        self.clients.receive(&mut self.ensemble.servers[TESTED], conn, &frame);
        (0..12).for_each(|_| self.behave());
        for number in 0..writes as u8 {
            let frame = requests::request(&mut Script::new(&[number, 0, 7, 2, 0, 2, 0]));
            self.clients.receive(&mut self.ensemble.servers[TESTED], conn, &frame);
            (0..3).for_each(|_| self.behave());
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let action = script.byte();
        let link = self.link(action >> 4);
        let leads = matches!(self.ensemble.servers[TESTED].replica.status().role, Role::Leading { .. });
        match (action % 16, link) {
            (0, _) => drop(self.ensemble.deliver(TESTED)),
            (1, _) => drop(self.ensemble.deliver(PARTNER)),
            (2, _) => (0..script.byte() % 32).for_each(|_| self.behave()),
            (3, Some(link)) => self.ensemble.say_bytes(link, script.bytes()),
            (4..=6, Some(link)) => {
                let message = messages::message(script, &self.ensemble.servers[TESTED].replica.status());
                self.ensemble.say(Input::Peer { link, message });
            }
            (7, _) => self.notify(script),
            (8, _) if self.ensemble.links.len() < LINKS_MAX => {
                let link = self.ensemble.new_link();
                let (peer, dialled) = (ServerId(script.byte() % 5), action & 16 != 0);
                self.ensemble.say(match action & 32 {
                    0 => Input::LinkUp { link, peer, dialled },
                    _ => Input::FeedUp { link, peer, dialled },
                });
            }
            (9, Some(link)) => self.ensemble.say(Input::LinkDown { link }),
            (9, None) => self.ensemble.say(Input::PeerGone { peer: ServerId(script.byte() % 5) }),
            (10, _) => self.ensemble.tick(u64::from(script.byte()) * 2),
            (11, _) => self.ensemble.servers[TESTED].do_disk(usize::from(script.byte() % 4)),
            (12, _) => self.ensemble.servers[PARTNER].do_disk(usize::from(script.byte() % 4)),
            (13, _) => self.client(script, action),
            (14, _) => self.ensemble.lose(usize::from(action >> 4 & 1)),
            (_, Some(link)) => self.ensemble.say(Input::LinkProgress { link }),
            _ => {}
        }
        self.ensemble.servers[TESTED].flush();
        let told = self.ensemble.collect();
        self.hear(told);
        let halted = &self.ensemble.servers[TESTED].halted;
        assert!(!leads || halted.is_none(), "whatever a learner says, it stops no leader: {halted:?}");
    }

    fn link(&self, which: u8) -> Option<LinkId> {
        let links = &self.ensemble.links;
        links.keys().nth(usize::from(which) % links.len().max(1)).copied()
    }

    fn notify(&mut self, script: &mut Script<'_>) {
        let from = ServerId(script.byte() % 5);
        let notification = if script.byte() & 1 != 0 {
            let frame = Bytes::copy_from_slice(script.bytes());
            let Ok(notification) = decode_notification(frame) else { return };
            notification
        } else {
            messages::notification(script, &self.ensemble.servers[TESTED].replica.status())
        };
        self.ensemble.say(Input::Notification { from, notification });
    }

    fn client(&mut self, script: &mut Script<'_>, action: u8) {
        let server = &mut self.ensemble.servers[TESTED];
        let ids: Vec<ConnId> = self.clients.ids();
        match ids.get(usize::from(action >> 4) % ids.len().max(1)) {
            Some(conn) if action & 16 != 0 => {
                let frame = requests::request(script);
                self.clients.receive(server, *conn, &frame);
            }
            _ if ids.len() < LINKS_MAX => {
                let conn = self.clients.open();
                let frame = requests::connect(script, self.clients.sessions.first().cloned().as_ref());
                self.clients.receive(server, conn, &frame);
            }
            _ => {}
        }
    }

    /// Clients are told what is for them; a liar among the servers may have them told anything.
    fn hear(&mut self, told: Vec<Output>) {
        for output in told {
            self.clients.believe(&mut self.ensemble.servers[TESTED], output);
        }
    }
}
