//! The answer to the four-letter word `conf`, line by line as ZooKeeper prints it.

use std::fmt::Write;

use super::settings::Settings;
use crate::membership::{ListenAddr, Membership, PeerRole};

impl Settings {
    /// The text of `conf`; the two sizes are those of the files that are there now. A server of an ensemble adds its
    /// quorum settings and the `membership` that is in force, whose last line ends without a line feed.
    pub fn conf_text(&self, membership: &Membership, data_dir_bytes: u64, data_log_dir_bytes: u64) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(text, "{key}={value}");
        };
        let port = |addr: &Option<ListenAddr>| addr.as_ref().map_or(-1, |addr| i32::from(addr.port));
        line("clientPort", &port(&self.client_addr));
        line("secureClientPort", &port(&self.secure_client_addr));
        line("dataDir", &self.data_dir.display());
        line("dataDirSize", &data_dir_bytes);
        line("dataLogDir", &self.data_log_dir.display());
        line("dataLogSize", &data_log_dir_bytes);
        line("tickTime", &self.tick_ms);
        line("maxClientCnxns", &self.conns_per_address_max);
        line("minSessionTimeout", &self.session_timeout_ms_min);
        line("maxSessionTimeout", &self.session_timeout_ms_max);
        line("clientPortListenBacklog", &-1);
        line("serverId", &self.server_id);
        let own = membership.servers.get(&self.server_id).or(self.own_addr());
        if let Some(own) = own.filter(|_| !self.is_standalone()) {
            line("initLimit", &self.init_limit_ticks);
            line("syncLimit", &self.sync_limit_ticks);
            line("electionAlg", &3);
            line("electionPort", &own.election_port);
            line("quorumPort", &own.quorum_port);
            line("peerType", &u8::from(own.role == PeerRole::Observer));
            text.push_str("membership: \n");
            text.push_str(&membership.text());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Format, Settings, Source, parse_text};

    fn settings(text: &str, myid: Option<u8>) -> Settings {
        let source = Source { name: "zoo.cfg", text, format: Format::Properties, myid, strict: true };
        parse_text(&source).expect("must parse").settings
    }

    #[test]
    fn a_standalone_server_prints_what_zookeeper_prints() {
        let settings = settings("dataDir=/data\ndataLogDir=/log\nclientPort=2181\ntickTime=2000\n", None);
        assert_eq!(
            settings.conf_text(&settings.membership(), 5, 67_108_880),
            "clientPort=2181\nsecureClientPort=-1\ndataDir=/data\ndataDirSize=5\ndataLogDir=/log\n\
             dataLogSize=67108880\ntickTime=2000\nmaxClientCnxns=60\nminSessionTimeout=4000\n\
             maxSessionTimeout=40000\nclientPortListenBacklog=-1\nserverId=0\n"
        );
    }

    #[test]
    fn a_server_of_an_ensemble_adds_quorum_and_membership() {
        let text = "dataDir=/data\nclientPort=2181\ninitLimit=10\nsyncLimit=5\n\
                    server.1=a:2888:3888;2181\nserver.2=b:2888:3888:participant\nserver.3=c:2888:3888\n";
        let settings = settings(text, Some(2));
        let conf = settings.conf_text(&settings.membership(), 0, 0);
        let (_, quorum) = conf.split_once("serverId=2\n").expect("serverId comes before the quorum");
        assert_eq!(
            quorum,
            "initLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\nquorumPort=2888\npeerType=0\n\
             membership: \nserver.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888:participant\n\
             server.3=c:2888:3888:participant\nversion=0"
        );
    }

    #[test]
    fn observers_groups_and_weights_are_told_as_zookeeper_tells_them() {
        let text = "dataDir=/data\nclientPort=2181\ninitLimit=10\nsyncLimit=5\nserver.1=a:1:2\nserver.2=b:1:2\n\
                    server.3=c:1:2\nserver.4=d:1:2:observer\ngroup.1=1:3\ngroup.2=2\nweight.3=2\n";
        let settings = settings(text, Some(4));
        let conf = settings.conf_text(&settings.membership(), 0, 0);
        let (_, quorum) = conf.split_once("quorumPort=1\n").expect("it comes before the type");
        assert_eq!(
            quorum,
            "peerType=1\nmembership: \nserver.1=a:1:2:participant\nserver.2=b:1:2:participant\n\
             server.3=c:1:2:participant\nserver.4=d:1:2:observer\ngroup.1=1:3\ngroup.2=2\nweight.1=1\nweight.2=1\n\
             weight.3=2\nversion=0"
        );
    }
}
