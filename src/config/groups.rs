//! Groups and weights: what each participant counts for.

use std::collections::BTreeMap;

use super::given::Given;
use super::settings::Settings;
use crate::ids::ServerId;
use crate::membership::PeerRole;
use crate::membership::properties::Entry;

/// A `group.N` line.
#[derive(Clone, Debug)]
pub(super) struct Group {
    number: u32,
    members: Vec<ServerId>,
    line: u32,
}

/// A `weight.N` line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    weight: u32,
    line: u32,
}

impl Group {
    /// From the entry `group.<number>`.
    pub fn read(number: &str, entry: &Entry) -> Result<Group, String> {
        let Entry { key, value, line } = entry;
        let number = number.parse().map_err(|_| format!("{key}: expected group.N with a whole number N"))?;
        let members = value.split(':').map(|id| id.trim().parse().map(ServerId)).collect::<Result<_, _>>();
        let members =
            members.map_err(|_| format!("{key}={value}: expected server ids with : between them"))?;
        Ok(Group { number, members, line: *line })
    }
}

impl Weight {
    /// From the entry `weight.<id>`.
    pub fn read(id: &str, entry: &Entry) -> Result<(ServerId, Weight), String> {
        let Entry { key, value, line } = entry;
        let id =
            id.parse().map(ServerId).map_err(|_| format!("{key}: expected weight.N with N from 0 to 255"))?;
        let weight = value.parse().map_err(|_| format!("{key}={value}: expected a whole number"))?;
        Ok((id, Weight { weight, line: *line }))
    }
}

/// Gives the participants their groups and weights. What does not fit is noted in `given`.
pub(super) fn set(given: &mut Given, settings: &mut Settings) {
    let (groups, weights) = (given.groups(), given.weights());
    for (id, Weight { line, .. }) in &weights {
        let role = settings.servers.iter().find(|server| server.id == *id).map(|server| server.role);
        let expected = match role {
            None => "there is no such server in the list",
            Some(PeerRole::Observer) => "an observer does not vote",
            Some(_) if groups.is_empty() => "expected group.N lines as well: without them all count the same",
            Some(_) => continue,
        };
        given.problem_of_servers(Some(*line), format!("weight.{id}: {expected}"));
    }
    if groups.is_empty() {
        return;
    }
    let mut group_of: BTreeMap<ServerId, &Group> = BTreeMap::new();
    for group in &groups {
        for id in &group.members {
            join(
                given,
                settings,
                &mut group_of,
                group,
                *id,
                weights.get(id).map_or(1, |weight| weight.weight),
            );
        }
    }
    for (server, line) in given.servers() {
        if server.role != PeerRole::Observer && !group_of.contains_key(&server.id) {
            let text =
                format!("server.{}: in no group, though there are some: expected it in one", server.id);
            given.problem_of_servers(Some(line), text);
        }
    }
    if !settings.servers.is_empty() && !settings.servers.iter().any(|server| server.role.votes()) {
        given.problem_of_servers(None, "no server has a weight: expected one above 0".to_string());
    }
}

fn join<'a>(
    given: &mut Given,
    settings: &mut Settings,
    group_of: &mut BTreeMap<ServerId, &'a Group>,
    group: &'a Group,
    id: ServerId,
    weight: u32,
) {
    let server = settings.servers.iter_mut().find(|server| server.id == id);
    let problem = match (server, group_of.get(&id)) {
        (None, _) => "there is no such server in the list".to_string(),
        (Some(server), _) if server.role == PeerRole::Observer => "an observer does not vote".to_string(),
        (Some(_), Some(Group { number, line, .. })) => {
            format!("it is in group.{number} (line {line}) already: expected every server in one group")
        }
        (Some(server), None) => {
            server.role = PeerRole::Participant { group: group.number, weight };
            group_of.insert(id, group);
            return;
        }
    };
    given.problem_of_servers(Some(group.line), format!("group.{}, server {id}: {problem}", group.number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Format, Source, parse_text};

    const SERVERS: &str = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer\n";

    /// The roles of the four servers, or what is wrong.
    fn roles(lines: &str) -> Result<Vec<PeerRole>, String> {
        let text = format!("{SERVERS}{lines}\ndataDir=/d\nclientPort=9\n");
        let source =
            Source { name: "z", text: &text, format: Format::Properties, myid: Some(1), strict: true };
        let loaded = parse_text(&source).map_err(|error| error.to_string())?;
        Ok(loaded.settings.servers.iter().map(|server| server.role).collect())
    }

    #[test]
    fn participants_count_for_their_weight_in_their_group() {
        let of = |group, weight| PeerRole::Participant { group, weight };
        assert_eq!(
            roles("group.7=1:3\ngroup.2=2\nweight.1=5\nweight.2=0"),
            Ok(vec![of(7, 5), of(2, 0), of(7, 1), PeerRole::Observer])
        );
        let equal = PeerRole::EQUAL;
        assert_eq!(roles(""), Ok(vec![equal, equal, equal, PeerRole::Observer]));
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_line() {
        let table = [
            (
                "group.1=1:2\ngroup.2=2:3",
                "z:6: group.2, server 2: it is in group.1 (line 5) already: expected every server in one group",
            ),
            ("group.1=1:2:3:9", "z:5: group.1, server 9: there is no such server in the list"),
            ("group.1=1:2:3:4", "z:5: group.1, server 4: an observer does not vote"),
            ("group.1=1:2", "z:3: server.3: in no group, though there are some: expected it in one"),
            ("group.1=1:2:x", "z:5: group.1=1:2:x: expected server ids with : between them"),
            ("group.x=1", "z:5: group.x: expected group.N with a whole number N"),
            ("weight.1=2", "z:5: weight.1: expected group.N lines as well: without them all count the same"),
            ("group.1=1:2:3\nweight.9=1", "z:6: weight.9: there is no such server in the list"),
            ("group.1=1:2:3\nweight.4=1", "z:6: weight.4: an observer does not vote"),
            ("group.1=1:2:3\nweight.1=-1", "z:6: weight.1=-1: expected a whole number"),
            (
                "group.1=1:2:3\nweight.1=0\nweight.2=0\nweight.3=0",
                "z: no server has a weight: expected one above 0",
            ),
        ];
        for (lines, expected) in table {
            assert_eq!(roles(lines), Err(expected.to_string()));
        }
    }
}
