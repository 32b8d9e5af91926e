//! Whose helpers are, at the edges.

use super::{code, power};
use runstone_codec::Authority;
use runstone_projections::agents::{AgentKind, Agents, NewHelper};
use runstone_store::Sealing;
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;

/// Its first command makes an agent known, and that may be the one that spawns.
#[test]
fn nobody_is_a_helper_of_himself() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let agents = Agents::new(&lead);
    assert_eq!(agents.find("lead")?, None);
    let spawned = agents.spawn_blocking(&NewHelper::new("lead"));
    assert_eq!(code(spawned), "name_taken");
    let agent = agents.find("lead")?.ok_or("it gave a command")?;
    assert_eq!(agent.kind(), AgentKind::Persistent);
    agents.spawn_blocking(&NewHelper::new("h1"))?;
    assert_sound(&log)
}

/// A helper that does not run is stopped by a person all the same.
#[test]
fn a_person_stops_whom_its_parent_stopped_before() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let ada = site.person(&log)?;
    let agents = Agents::new(&lead);
    agents.spawn_blocking(&NewHelper::new("h1"))?;
    let by_parent = agents.change_blocking("h1", &power(false))?;
    let by_person = Agents::new(&ada).change_blocking("h1", &power(false))?;
    assert!(by_person > by_parent);
    let on = agents.change_blocking("h1", &power(true));
    assert_eq!(code(on), "not_allowed");
    // Nothing more is recorded, whoever says it again.
    for who in [&agents, &Agents::new(&ada)] {
        assert_eq!(who.change_blocking("h1", &power(false))?, by_person);
    }
    Agents::new(&ada).change_blocking("h1", &power(true))?;
    assert_sound(&log)
}
