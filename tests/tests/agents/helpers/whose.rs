//! Whose helpers are, at the edges.

use super::{code, power};
use runstone_codec::Authority;
use runstone_projections::Hold;
use runstone_projections::agents::{AgentKind, Agents, NewHelper};
use runstone_projections::tasks::NewTask;
use runstone_projections::trays::{Claim, Trays};
use runstone_store::{ErrorKind, Sealing};
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

/// One that is spawned without a tray has one of its own, which is there with it.
#[test]
fn a_helper_without_a_tray_is_given_one() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let ada = site.person(&log)?;
    let (agents, trays) = (Agents::new(&lead), Trays::new(&lead));
    let longest = "h".repeat(64);
    let spawned = agents.spawn_blocking(&NewHelper::new(&longest))?;
    let other = agents.spawn_blocking(&NewHelper::new("h2"))?;
    assert_ne!(spawned.tray, other.tray);
    for helper in [&spawned, &other] {
        let tray = trays.tray(&helper.tray)?.ok_or("it is there")?;
        // One decision: nothing comes between.
        assert_eq!(tray.opened.get(), helper.position.get() + 1);
        assert_eq!((tray.open, tray.closed), (0, None));
    }
    // A tray that is named may be opened before or after, by whoever is to fill it.
    agents.spawn_blocking(&NewHelper::new("h3").tray("west"))?;
    assert!(trays.tray("west")?.is_none());
    // What is refused opens none.
    let size = log.size();
    let refused = agents.spawn_blocking(&NewHelper::new("h2"));
    assert_eq!(code(refused), "name_taken");
    assert_eq!(log.size(), size);

    trays.add_blocking(&spawned.tray, &NewTask::new("a").into())?;
    let own = site.principal(&log, &longest, Authority::Agent)?;
    let own = Trays::new(&own);
    assert_eq!(own.own()?, spawned.tray);
    let claim = own.claim_blocking(&own.own()?, "h", Hold::Default)?;
    assert!(matches!(claim, Claim::Claimed(_)));
    for who in [&log, &lead, &ada] {
        let told = Trays::new(who).own().unwrap_err();
        assert_eq!(told.code(), "no_own_tray");
        assert_eq!(told.kind(), ErrorKind::Usage);
    }
    assert_sound(&log)
}
