//! Helpers: who spawns them, how many run, when they are gone, and what becomes of what they held.

use runstone_codec::{Authority, Position};
use runstone_projections::agents::{
    AgentChange, AgentError, AgentFilter, AgentKind, AgentState, Agents, MAX_REAPED, Messages,
    NewHelper, NewMessage, RetireReason,
};
use runstone_projections::approvals::{ApprovalRequest, Approvals};
use runstone_projections::effects::{Claim, Class, Effects, State};
use runstone_projections::tasks::{NewTask, TaskFilter, TaskState, Tasks};
use runstone_projections::trays::Trays;
use runstone_projections::{Hold, Settings, Swept, sweep};
use runstone_store::keys::Credential;
use runstone_store::{Log, Query, Read, Sealing};
use runstone_tests::clocked::{Clocked, assert_sound};
use runstone_tests::tamper::Outcome;
use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

mod held;
mod run;
mod whose;

const SECOND: u64 = 1_000_000;

fn code<T: std::fmt::Debug>(outcome: Result<T, AgentError>) -> &'static str {
    outcome.unwrap_err().code()
}

fn power(runs: bool) -> AgentChange {
    let reason = None;
    AgentChange::Power { runs, reason }
}

fn revoke() -> AgentChange {
    let reason = "gone wild".to_owned();
    AgentChange::Revoke { reason }
}

fn state(log: &Log, name: &str) -> Outcome<AgentState> {
    let agent = Agents::new(log).find(name)?;
    Ok(agent.ok_or("there is no such agent")?.state)
}

fn retired(log: &Log, name: &str) -> Outcome<Option<RetireReason>> {
    let agent = Agents::new(log).find(name)?;
    let helper = agent.and_then(|agent| agent.helper);
    Ok(helper.ok_or("there is no such helper")?.retired)
}

fn limit(log: &Log, registered: u64, running: u64) -> Outcome {
    let mut settings = Settings::default();
    settings.helpers.max_registered = registered;
    settings.helpers.max_running = running;
    settings.record(log)?;
    Ok(())
}

fn events(log: &Log, event_type: &str) -> Outcome<u64> {
    Ok(log.count(&Query::of_type(event_type))?)
}

#[test]
fn a_helper_is_its_callers_and_its_name_is_its_own_for_good() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let agents = Agents::new(&lead);
    let bad = [
        (NewHelper::new("a b"), "bad_name"),
        (NewHelper::new("h").tray("a/b"), "bad_tray"),
        (NewHelper::new("h").ttl(Duration::from_secs(59)), "bad_ttl"),
        (
            NewHelper::new("h").ttl(Duration::from_secs(86_401)),
            "bad_ttl",
        ),
    ];
    let before = log.size();
    for (helper, expected) in &bad {
        assert_eq!(code(agents.spawn_blocking(helper)), *expected);
    }
    assert_eq!(log.size(), before);

    let one = NewHelper::new("h1")
        .tray("t")
        .role("reads")
        .ttl(Duration::from_secs(60));
    let spawned = agents.spawn_blocking(&one.spawned_for("task-7"))?;
    // The parent is registered by its first command, the helper by its birth alone.
    assert_eq!(log.size(), before + 2);
    assert_eq!((spawned.tray.as_str(), spawned.is_running), ("t", true));
    assert_eq!(spawned.expires_at_us, log.steady_us() + 60 * SECOND);
    let found = agents.find("h1")?.ok_or("it is there")?;
    assert_eq!(found.kind(), AgentKind::Helper);
    assert_eq!(found.registered, spawned.position);
    let helper = found.helper.clone().ok_or("it is one")?;
    assert_eq!(helper.parent, "agent:lead");
    assert_eq!((helper.auto_retire, helper.is_expired), (true, false));
    let said = agents.description(&found)?;
    assert_eq!(
        (said.role.as_deref(), said.spawned_for.as_deref()),
        (Some("reads"), Some("task-7"))
    );

    // Two trays that nobody named are two.
    let [two, three] = ["h2", "h3"].map(|name| agents.spawn_blocking(&NewHelper::new(name)));
    let (two, three) = (two?, three?);
    assert!(two.tray.starts_with("tray-") && two.tray != three.tray);
    let hour = Settings::default().leases.helper_s;
    assert_eq!(two.expires_at_us, log.steady_us() + hour * SECOND);

    // A name that anybody has or had is taken.
    Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
    agents
        .retire_blocking("h3", RetireReason::MaxTasks)
        .unwrap_err();
    Agents::new(&log).retire_blocking("h3", RetireReason::MaxTasks)?;
    for name in ["h1", "h3", "scout", "lead"] {
        let again = agents.spawn_blocking(&NewHelper::new(name));
        assert_eq!(code(again), "name_taken", "{name}");
    }
    // Helpers do not spawn, whatever they call it.
    let h1 = site.principal(&log, "h1", Authority::Agent)?;
    let chained = Agents::new(&h1).spawn_blocking(&NewHelper::new("h4"));
    assert_eq!(code(chained), "helper_chain_forbidden");
    // A person has helpers too.
    let ada = site.person(&log)?;
    Agents::new(&ada).spawn_blocking(&NewHelper::new("h5"))?;
    let of_ada = AgentFilter::new().parent("human:ada");
    assert_eq!(agents.list(&of_ada)?.len(), 1);
    let helpers = agents.list(&AgentFilter::new().kind(AgentKind::Helper))?;
    assert_eq!(helpers.len(), 4);
    assert_sound(&log)
}

#[test]
fn as_many_are_registered_and_as_many_run_as_the_settings_say() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    limit(&log, 3, 1)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let agents = Agents::new(&lead);
    assert!(agents.spawn_blocking(&NewHelper::new("h1"))?.is_running);
    // The row is there, and does not run.
    assert!(!agents.spawn_blocking(&NewHelper::new("h2"))?.is_running);
    assert!(!agents.spawn_blocking(&NewHelper::new("h3"))?.is_running);
    assert_eq!(state(&log, "h2")?, AgentState::Stopping);
    let fourth = agents.spawn_blocking(&NewHelper::new("h4"));
    assert_eq!(code(fourth), "tier_limit");
    assert_eq!(agents.find("h4")?, None);
    // Another one's helpers do not count.
    let other = site.principal(&log, "other", Authority::Agent)?;
    assert!(
        Agents::new(&other)
            .spawn_blocking(&NewHelper::new("o1"))?
            .is_running
    );

    // The cap counts when it is powered on, whoever does it.
    let ada = site.person(&log)?;
    for who in [&lead, &ada] {
        let on = Agents::new(who).change_blocking("h2", &power(true));
        assert_eq!(code(on), "helper_cap_reached");
    }
    agents.change_blocking("h1", &power(false))?;
    agents.change_blocking("h2", &power(true))?;
    assert_eq!(state(&log, "h2")?, AgentState::Running);
    assert_eq!(
        code(agents.change_blocking("h1", &power(true))),
        "helper_cap_reached"
    );
    // A helper that sleeps runs all the same.
    Agents::new(&log).change_blocking(
        "h2",
        &AgentChange::sleep("no_tasks", Duration::from_secs(30)),
    )?;
    assert_eq!(
        code(agents.change_blocking("h1", &power(true))),
        "helper_cap_reached"
    );
    // Settings count from when they are recorded.
    limit(&log, 4, 2)?;
    agents.change_blocking("h1", &power(true))?;
    agents.spawn_blocking(&NewHelper::new("h4"))?;
    // Who is gone makes room.
    Agents::new(&log).retire_blocking("h1", RetireReason::TrayDrained)?;
    assert!(agents.spawn_blocking(&NewHelper::new("h5"))?.is_running);
    assert_sound(&log)
}

#[test]
fn a_parent_powers_its_own_but_not_whom_a_person_stopped() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    let other = site.principal(&log, "other", Authority::Agent)?;
    let ada = site.person(&log)?;
    Agents::new(&lead).spawn_blocking(&NewHelper::new("h1"))?;
    Agents::new(&log).change_blocking("scout", &AgentChange::register())?;
    for who in [&log, &other] {
        let off = Agents::new(who).change_blocking("h1", &power(false));
        assert_eq!(code(off), "not_allowed");
    }
    let agents = Agents::new(&lead);
    assert_eq!(
        code(agents.change_blocking("scout", &power(false))),
        "not_allowed"
    );
    assert_eq!(code(agents.change_blocking("h1", &revoke())), "not_allowed");
    agents.change_blocking("h1", &power(false))?;
    assert!(Messages::new(&log).attend_blocking("h1", None)?.must_exit);
    agents.change_blocking("h1", &power(true))?;
    assert!(!Messages::new(&log).attend_blocking("h1", None)?.must_exit);

    // By a word, by the switch, and by revoking.
    for how in ["order", "power", "revoke"] {
        match how {
            "order" => {
                let order = NewMessage::to("h1").of_type("shutdown");
                Messages::new(&ada).send_blocking(&order)?;
                assert!(Messages::new(&log).attend_blocking("h1", None)?.must_exit);
            }
            "power" => drop(Agents::new(&ada).change_blocking("h1", &power(false))?),
            _ => drop(Agents::new(&ada).change_blocking("h1", &revoke())?),
        }
        // That the parent stops it too does not make it the parent's.
        agents.change_blocking("h1", &power(false))?;
        let on = agents.change_blocking("h1", &power(true));
        assert_eq!(code(on), "not_allowed", "{how}");
        Agents::new(&ada).change_blocking("h1", &power(true))?;
        if how != "revoke" {
            agents.change_blocking("h1", &power(false))?;
            agents.change_blocking("h1", &power(true))?;
        }
    }
    assert_sound(&log)
}

#[test]
fn a_helper_retires_itself_and_gives_back_what_it_held() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let lead = site.principal(&log, "lead", Authority::Agent)?;
    Agents::new(&lead).spawn_blocking(&NewHelper::new("h1"))?;
    Agents::new(&lead).spawn_blocking(&NewHelper::new("h2").auto_retire(false))?;
    let h1 = site.principal(&log, "h1", Authority::Agent)?;
    let h2 = site.principal(&log, "h2", Authority::Agent)?;
    let why = RetireReason::TrayDrained;
    // Self only: its parent is another agent, and so is every other.
    for who in [&lead, &h2] {
        assert_eq!(
            code(Agents::new(who).retire_blocking("h1", why)),
            "not_allowed"
        );
    }
    assert_eq!(
        code(Agents::new(&h2).retire_blocking("h2", why)),
        "auto_retire_disabled"
    );
    assert_eq!(
        code(Agents::new(&log).retire_blocking("lead", why)),
        "not_a_helper"
    );
    assert_eq!(
        code(Agents::new(&log).retire_blocking("nobody", why)),
        "agent_not_found"
    );
    assert_eq!(
        code(Agents::new(&log).retire_blocking("no body", why)),
        "bad_name"
    );

    let tasks = Tasks::new(&log);
    for (id, holder) in [("a", "h1"), ("b", "agent:h1"), ("c", "h2"), ("d", "h11")] {
        tasks.create_blocking(&NewTask::new(id))?;
        tasks.claim_blocking(id, holder, Hold::Default)?;
    }
    let at = Agents::new(&h1).retire_blocking("h1", why)?;
    assert_eq!(retired(&log, "h1")?, Some(why));
    assert_eq!(state(&log, "h1")?, AgentState::Retired);
    assert!(Messages::new(&h1).attend_blocking("h1", None)?.must_exit);
    for (id, held) in [("a", false), ("b", false), ("c", true), ("d", true)] {
        let task = tasks.find(id)?.ok_or("it is there")?;
        assert_eq!(task.is_held, held, "{id}");
        let expected = if held {
            (TaskState::InProgress, 1)
        } else {
            (TaskState::Todo, 2)
        };
        assert_eq!((task.state, task.attempt), expected, "{id}");
    }
    // Again is no other answer, whatever it says.
    let size = log.size();
    let again = Agents::new(&h1).retire_blocking("h1", RetireReason::MaxTasks)?;
    assert_eq!((again, log.size()), (at, size));
    // It is gone for good, and takes nothing any more.
    let ada = site.person(&log)?;
    assert_eq!(
        code(Agents::new(&ada).change_blocking("h1", &power(true))),
        "agent_retired"
    );
    for change in [
        power(false),
        AgentChange::Wake,
        AgentChange::sleep("x", Duration::from_secs(1)),
    ] {
        assert_eq!(Agents::new(&ada).change_blocking("h1", &change)?, at);
    }
    let claim = Tasks::new(&h1).claim_blocking("a", "h1", Hold::Default);
    assert_eq!(claim.unwrap_err().code(), "agent_retired");
    let (all, trays) = (Trays::new(&log), Trays::new(&h1));
    all.open_blocking("t")?;
    all.add_blocking("t", &NewTask::new("of-tray").into())?;
    let claim = trays.claim_blocking("t", "h1", Hold::Default);
    assert_eq!(claim.unwrap_err().code(), "agent_retired");
    Agents::new(&ada).change_blocking("h1", &revoke())?;
    assert_eq!(state(&log, "h1")?, AgentState::Retired);
    assert_sound(&log)
}

#[test]
fn a_helper_lives_no_longer_than_its_time_however_often_the_log_is_opened() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    Agents::new(&log).spawn_blocking(
        &NewHelper::new("short")
            .ttl(Duration::from_secs(60))
            .auto_retire(false),
    )?;
    Agents::new(&log).spawn_blocking(&NewHelper::new("long").ttl(Duration::from_secs(120)))?;
    let tasks = Tasks::new(&log);
    tasks.create_blocking(&NewTask::new("a"))?;
    tasks.claim_blocking("a", "short", Hold::Default)?;
    // The wall clock ends nobody.
    site.clock
        .set_wall(runstone_tests::clocked::START_US + 59 * 60 * SECOND);
    assert!(Agents::new(&log).reap_blocking()?.is_empty());
    site.clock.set_wall(runstone_tests::clocked::START_US);
    site.clock.advance(40 * SECOND);
    let log = site.reopen(log)?;
    site.clock.advance(20 * SECOND - 1);
    let agents = Agents::new(&log);
    assert!(agents.reap_blocking()?.is_empty());
    assert!(
        !agents
            .find("short")?
            .and_then(|agent| agent.helper)
            .ok_or("it is one")?
            .is_expired
    );
    site.clock.advance(1);
    // Seen before it is recorded.
    assert!(
        agents
            .find("short")?
            .and_then(|agent| agent.helper)
            .ok_or("it is one")?
            .is_expired
    );
    assert_eq!(state(&log, "short")?, AgentState::Running);
    let reaped = agents.reap_blocking()?;
    let names: Vec<_> = reaped.iter().map(|reaped| reaped.name.as_str()).collect();
    assert_eq!(
        (names, reaped[0].why),
        (vec!["short"], RetireReason::TtlExpired)
    );
    assert_eq!(reaped[0].released.len(), 1);
    let task = Tasks::new(&log).find("a")?.ok_or("it is there")?;
    assert_eq!(
        (task.state, task.attempt, task.is_held),
        (TaskState::Todo, 2, false)
    );
    assert!(agents.reap_blocking()?.is_empty());
    // Looking records it too, of whoever looks.
    site.clock.advance(60 * SECOND);
    assert!(Messages::new(&log).attend_blocking("long", None)?.must_exit);
    assert_eq!(retired(&log, "long")?, Some(RetireReason::TtlExpired));
    assert_sound(&log)
}

#[test]
fn helpers_go_when_their_parent_must_exit() -> Outcome {
    for how in ["order", "power", "revoke"] {
        let site = Clocked::new()?;
        let log = site.create(Sealing::Plain)?;
        let lead = site.principal(&log, "lead", Authority::Agent)?;
        let other = site.principal(&log, "other", Authority::Agent)?;
        let ada = site.person(&log)?;
        for name in ["h1", "h2"] {
            Agents::new(&lead).spawn_blocking(&NewHelper::new(name))?;
        }
        Agents::new(&other).spawn_blocking(&NewHelper::new("o1"))?;
        match how {
            "order" => {
                let order = NewMessage::to("lead").of_type("shutdown");
                Messages::new(&ada).send_blocking(&order)?;
                assert!(Agents::new(&log).reap_blocking()?.is_empty());
                // It gets it from its next look, and its helpers go with it.
                assert!(
                    Messages::new(&lead)
                        .attend_blocking("lead", None)?
                        .must_exit
                );
            }
            "power" => {
                Agents::new(&ada).change_blocking("lead", &power(false))?;
                let spawned = Agents::new(&lead).spawn_blocking(&NewHelper::new("h3"));
                assert_eq!(code(spawned), "not_allowed");
            }
            _ => {
                Agents::new(&ada).change_blocking("lead", &revoke())?;
                // Who was revoked still hears that it must exit, and records nothing.
                let size = log.size();
                assert!(
                    Messages::new(&lead)
                        .attend_blocking("lead", None)?
                        .must_exit
                );
                assert_eq!(log.size(), size);
                // Whoever looks next lets its helpers go.
                assert!(
                    !Messages::new(&log)
                        .attend_blocking("other", None)?
                        .must_exit
                );
            }
        }
        for name in ["h1", "h2"] {
            let why = retired(&log, name)?;
            assert_eq!(why, Some(RetireReason::ParentStopped), "{how}");
        }
        assert_eq!(retired(&log, "o1")?, None, "{how}");
        // Powered on again it begins anew.
        Agents::new(&ada).change_blocking("lead", &power(true))?;
        if how != "revoke" {
            Agents::new(&lead).spawn_blocking(&NewHelper::new("h4"))?;
        }
        assert!(Agents::new(&log).reap_blocking()?.is_empty(), "{how}");
        assert_sound(&log)?;
    }
    Ok(())
}

#[test]
fn a_command_lets_only_so_many_go_and_the_oldest_first() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    limit(&log, 1_000, 1_000)?;
    let agents = Agents::new(&log);
    let count = MAX_REAPED + 6;
    for n in 0..count {
        // Those that are spawned last go first.
        let ttl_s = u64::try_from(60 + count - n)?;
        agents.spawn_blocking(&NewHelper::new(format!("h{n}")).ttl(Duration::from_secs(ttl_s)))?;
    }
    site.clock.advance(1_000 * SECOND);
    let reaped = agents.reap_blocking()?;
    let names: Vec<_> = reaped.into_iter().map(|reaped| reaped.name).collect();
    let expected: Vec<_> = (6..count).rev().map(|n| format!("h{n}")).collect();
    assert_eq!(names, expected);
    let swept = sweep(&log)?;
    assert_eq!(swept.helpers, 6);
    assert_eq!(sweep(&log)?, Swept::default());
    assert_sound(&log)
}

#[test]
fn a_sweep_records_all_that_has_expired() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let tasks = Tasks::new(&log);
    for (id, holder) in [("a", "h1"), ("b", "somebody"), ("c", "h2"), ("d", "h1")] {
        tasks.create_blocking(&NewTask::new(id))?;
        let hold = if id == "b" {
            Hold::For(Duration::from_secs(90))
        } else {
            Hold::Opening
        };
        tasks.claim_blocking(id, holder, hold)?;
    }
    let agents = Agents::new(&log);
    agents.spawn_blocking(&NewHelper::new("h1").ttl(Duration::from_secs(60)))?;
    agents.spawn_blocking(&NewHelper::new("h2").ttl(Duration::from_secs(60)))?;
    let claim = Claim::tool("run-1", "pay").request("key");
    let mut request = ApprovalRequest::new(&claim, "pay");
    request.timeout_s = Some(60);
    Approvals::new(&log).request_blocking(&request)?;
    let lease = Hold::For(Duration::from_secs(100));
    let call = |key: &str, class| {
        let claim = Claim::tool("run-1", "post")
            .request(key)
            .class(class)
            .hold(lease);
        claim.args_json("{}")
    };
    let (once, twice) = (call("once", Class::Write), call("twice", Class::Idempotent));
    for claim in [&once, &twice] {
        Effects::new(&log).claim_blocking(claim)?;
    }
    assert_eq!(sweep(&log)?, Swept::default());
    // Whoever let this one go was killed before it gave its task back.
    {
        let mut retiring = pin!(agents.retire("h2", RetireReason::TrayDrained));
        let mut context = Context::from_waker(Waker::noop());
        assert!(retiring.as_mut().poll(&mut context).is_pending());
        log.sync_blocking()?;
    }
    site.clock.advance(100 * SECOND);
    let swept = sweep(&log)?;
    assert_eq!((swept.tasks, swept.approvals, swept.helpers), (4, 1, 1));
    // The one that may be made twice waits for the next claim.
    assert_eq!(swept.calls, 1);
    let [once, twice] = [&once, &twice].map(|claim| Effects::new(&log).find(claim));
    let (once, twice) = (once?.ok_or("it is there")?, twice?.ok_or("it is there")?);
    assert_eq!((once.state, twice.state), (State::Unknown, State::InFlight));
    assert!(twice.is_expired);
    for id in ["a", "b", "c", "d"] {
        let task = tasks.find(id)?.ok_or("it is there")?;
        assert_eq!((task.state, task.is_held), (TaskState::Todo, false), "{id}");
    }
    assert_eq!(sweep(&log)?, Swept::default());
    assert_sound(&log)
}

/// What was recorded elsewhere spawns nobody here.
#[test]
fn helpers_of_recordings_are_nobodys() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    Agents::new(&log).spawn_blocking(&NewHelper::new("h1"))?;
    for (event_type, name) in [("agent.helper_spawned", "h2"), ("agent.retired", "h1")] {
        let event = runstone_codec::NewEvent::new(event_type, "x").payload("{}");
        let control = runstone_codec::Control::new().text(1, name).u64(9, 0);
        let draft = runstone_codec::Draft::new(event).control(control);
        log.import_blocking(vec![vec![draft]]).remove(0)?;
    }
    assert_eq!(Agents::new(&log).find("h2")?, None);
    assert_eq!(state(&log, "h1")?, AgentState::Running);
    Ok(())
}

/// Numbers that are the same in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What the plainest of models knows of a helper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    parent: usize,
    runs: bool,
    gone: bool,
    expires_at_us: u64,
}

const PARENTS: [&str; 2] = ["lead", "other"];
const MOST: (u64, u64) = (6, 3);

struct World {
    site: Clocked,
    log: Log,
    parents: Vec<Log>,
    model: BTreeMap<String, Known>,
}

impl World {
    fn new() -> Outcome<Self> {
        let site = Clocked::new()?;
        let log = site.create(Sealing::Plain)?;
        limit(&log, MOST.0, MOST.1)?;
        let parents = PARENTS.map(|name| site.principal(&log, name, Authority::Agent));
        Ok(Self {
            parents: parents.into_iter().collect::<Result<_, _>>()?,
            site,
            log,
            model: BTreeMap::new(),
        })
    }

    fn count(&self, parent: usize) -> (u64, u64) {
        let of = |known: &&Known| known.parent == parent && !known.gone;
        let registered = self.model.values().filter(of).count() as u64;
        let running = self.model.values().filter(of).filter(|known| known.runs);
        (registered, running.count() as u64)
    }

    fn reap(&mut self) {
        let now = self.log.steady_us();
        for known in self.model.values_mut() {
            known.gone |= known.expires_at_us <= now;
        }
    }

    fn step(&mut self, numbers: &mut Numbers) -> Outcome {
        let parent = usize::try_from(numbers.below(2))?;
        let name = format!("h{}", numbers.below(24));
        let agents = Agents::new(&self.parents[parent]);
        let known = self.model.get(&name).copied();
        match numbers.below(10) {
            0..=3 => {
                self.reap();
                let ttl_s = 60 + numbers.below(300);
                let (registered, running) = self.count(parent);
                let told =
                    agents.spawn_blocking(&NewHelper::new(&name).ttl(Duration::from_secs(ttl_s)));
                if known.is_some() {
                    assert_eq!(code(told), "name_taken");
                } else if registered >= MOST.0 {
                    assert_eq!(code(told), "tier_limit");
                } else {
                    let told = told?;
                    assert_eq!(told.is_running, running < MOST.1);
                    let known = Known {
                        parent,
                        runs: told.is_running,
                        gone: false,
                        expires_at_us: told.expires_at_us,
                    };
                    self.model.insert(name, known);
                }
            }
            choice @ 4..=6 => {
                let on = choice > 4;
                let told = agents.change_blocking(&name, &power(on));
                match known {
                    None => assert_eq!(code(told), "not_allowed"),
                    Some(known) if known.parent != parent => {
                        assert_eq!(code(told), "not_allowed");
                    }
                    Some(known) if known.gone && on => assert_eq!(code(told), "agent_retired"),
                    Some(known) if !known.gone => {
                        if on && !known.runs && self.count(parent).1 >= MOST.1 {
                            assert_eq!(code(told), "helper_cap_reached");
                        } else {
                            told?;
                            self.model.insert(name, Known { runs: on, ..known });
                        }
                    }
                    Some(_) => drop(told?),
                }
            }
            7 => {
                let told = Agents::new(&self.log).retire_blocking(&name, RetireReason::MaxTasks);
                match known {
                    None => assert_eq!(code(told), "agent_not_found"),
                    Some(known) => {
                        told?;
                        self.model.insert(
                            name,
                            Known {
                                gone: true,
                                ..known
                            },
                        );
                    }
                }
            }
            8 => {
                self.site.clock.advance(numbers.below(60) * SECOND);
                Agents::new(&self.log).reap_blocking()?;
                self.reap();
            }
            _ if numbers.below(8) == 0 => {
                self.parents.clear();
                self.log = self.site.reopen(self.log.clone())?;
                for parent in PARENTS {
                    let credential = Credential::load(&self.site.file(parent))?;
                    self.parents.push(self.log.with_credential(&credential)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn counts_are_those_of_a_model_that_knows_everything() -> Outcome {
    for seed in 0..4 {
        let (mut world, mut numbers) = (World::new()?, Numbers(seed));
        for _ in 0..150 {
            world.step(&mut numbers)?;
        }
        for (name, known) in &world.model {
            let expected = match known {
                Known { gone: true, .. } => AgentState::Retired,
                Known { runs: true, .. } => AgentState::Running,
                _ => AgentState::Stopping,
            };
            assert_eq!(state(&world.log, name)?, expected, "{seed} {name}");
        }
        let gone = world.model.values().filter(|known| known.gone).count() as u64;
        assert_eq!(events(&world.log, "agent.retired")?, gone);
        assert!(gone > 3 && world.model.len() > 10, "{seed}: {gone}");
        assert_sound(&world.log)?;
    }
    Ok(())
}

#[tokio::test]
async fn futures_do_what_the_others_do() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let (agents, tasks) = (Agents::new(&log), Tasks::new(&log));
    for name in ["h1", "h2"] {
        agents
            .spawn(&NewHelper::new(name).ttl(Duration::from_secs(60)))
            .await?;
        tasks.create(&NewTask::new(name)).await?;
        tasks.claim(name, name, Hold::Opening).await?;
    }
    let held = tasks.list(&TaskFilter::new().holder("h2"))?;
    assert_eq!(held.len(), 1);
    agents.retire("h1", RetireReason::ClaimErrors).await?;
    site.clock.advance(60 * SECOND);
    let reaped = agents.reap().await?;
    assert_eq!(
        (reaped.len(), &reaped[0].released),
        (1, &vec![held[0].id.clone()])
    );
    agents.change("h2", &AgentChange::Wake).await?;
    assert!(Messages::new(&log).attend("h2", None).await?.must_exit);
    assert!(tasks.list(&TaskFilter::new().holder("h2"))?.is_empty());
    assert_sound(&log)
}

/// A helper that waits is told when its time is over, though nothing comes.
#[test]
fn a_helper_that_waits_exits_when_its_time_is_over() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    Agents::new(&log).spawn_blocking(&NewHelper::new("h1").ttl(Duration::from_secs(60)))?;
    site.clock.advance(60 * SECOND - 1_000);
    let inbox = runstone::Runstone::from(log.clone()).inbox("h1");
    // Nothing came, and what it answers is how the helper stands.
    let none = inbox.wait_blocking(Some(Duration::ZERO))?;
    assert_eq!((none.must_exit, none.open_tasks), (false, Some(0)));
    let waiting = std::thread::spawn(move || inbox.wait_blocking(None));
    site.clock.advance(1_000);
    let heard = waiting.join().map_err(|_| "it panicked")??;
    assert!(heard.must_exit);
    assert_eq!(retired(&log, "h1")?, Some(RetireReason::TtlExpired));
    assert_sound(&log)
}

/// Nothing of a helper in words stands where nothing is erased.
#[test]
fn control_names_pseudonyms_only() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Plain)?;
    let helper = NewHelper::new("h1")
        .tray("t")
        .role("secret role")
        .spawned_for("secret task");
    let at = Agents::new(&log).spawn_blocking(&helper)?.position;
    let read = Read::new(Query::of_type("agent.helper_spawned"));
    let record = log.read(read)?.next().ok_or("it is there")??;
    assert_eq!(record.position, at);
    assert_eq!(
        (record.control.get_text(1), record.control.get_text(6)),
        (Some("h1"), Some("t"))
    );
    let unsealed = format!("{:?} {:?}", record.header, record.control);
    assert!(!unsealed.contains("secret"), "{unsealed}");
    assert!(at > Position::new(0));
    Ok(())
}
