//! Every type of event that is known here.

use runstone_codec::schema::json_schema;
use runstone_codec::{TypedEvent, Upcasters};
use serde_json::Value;

use super::{
    AgentHelperSpawned, AgentOrderRefused, AgentPowered, AgentRegistered, AgentRetired,
    AgentRevoked, AgentSlept, AgentStopOrdered, AgentWoke, ApprovalDecided, ApprovalExpired,
    ApprovalRequested, ApprovalVoted, BudgetChanged, BudgetCharged, BudgetExceeded, BudgetOpened,
    BudgetReleased, BudgetReserved, BudgetSettled, BudgetWarned, ChatMessage, EffectCancelled,
    EffectClaimed, EffectCompleted, EffectFailed, EffectLeaseRenewed, EffectOutcomeUnknown,
    EffectReconciled, EffectRefused, EffectReleased, LlmCallCompleted, MessageRead, MessageSent,
    RunFinished, RunForked, RunLeaseRenewed, RunPaused, RunResumed, RunRolledBack, RunStarted,
    SessionAppended, SessionEnded, SessionPatched, SessionSnapshotted, StepBlocked, StepCompleted,
    StepFailed, StepSkipped, StepStarted, TaskClaimed, TaskCreated, TaskLeaseRenewed, TaskMoved,
    TaskRefused, ToolCallCompleted, ToolCallFailed, ToolCallRequested, TrayClosed,
    TrayDeadLettered, TrayOpened, VerdictGiven,
};

/// A type of event and the shape of its payload.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct EventSchema {
    /// The event type.
    pub name: &'static str,
    /// The newest version of its payload.
    pub version: u32,
    /// JSON Schema (2020-12) of that version.
    pub json_schema: Value,
}

impl EventSchema {
    /// The entry of a Rust type.
    pub fn of<T: TypedEvent>() -> Self {
        Self {
            name: T::TYPE,
            version: T::VERSION,
            json_schema: json_schema::<T>(),
        }
    }
}

/// Every type of this module, in the order of their names.
pub fn schemas() -> Vec<EventSchema> {
    vec![
        EventSchema::of::<AgentHelperSpawned>(),
        EventSchema::of::<AgentOrderRefused>(),
        EventSchema::of::<AgentPowered>(),
        EventSchema::of::<AgentRegistered>(),
        EventSchema::of::<AgentRetired>(),
        EventSchema::of::<AgentRevoked>(),
        EventSchema::of::<AgentSlept>(),
        EventSchema::of::<AgentStopOrdered>(),
        EventSchema::of::<AgentWoke>(),
        EventSchema::of::<ApprovalDecided>(),
        EventSchema::of::<ApprovalExpired>(),
        EventSchema::of::<ApprovalRequested>(),
        EventSchema::of::<ApprovalVoted>(),
        EventSchema::of::<BudgetChanged>(),
        EventSchema::of::<BudgetCharged>(),
        EventSchema::of::<BudgetExceeded>(),
        EventSchema::of::<BudgetOpened>(),
        EventSchema::of::<BudgetReleased>(),
        EventSchema::of::<BudgetReserved>(),
        EventSchema::of::<BudgetSettled>(),
        EventSchema::of::<BudgetWarned>(),
        EventSchema::of::<ChatMessage>(),
        EventSchema::of::<EffectCancelled>(),
        EventSchema::of::<EffectClaimed>(),
        EventSchema::of::<EffectCompleted>(),
        EventSchema::of::<EffectFailed>(),
        EventSchema::of::<EffectLeaseRenewed>(),
        EventSchema::of::<EffectOutcomeUnknown>(),
        EventSchema::of::<EffectReconciled>(),
        EventSchema::of::<EffectRefused>(),
        EventSchema::of::<EffectReleased>(),
        EventSchema::of::<LlmCallCompleted>(),
        EventSchema::of::<MessageRead>(),
        EventSchema::of::<MessageSent>(),
        EventSchema::of::<RunFinished>(),
        EventSchema::of::<RunForked>(),
        EventSchema::of::<RunLeaseRenewed>(),
        EventSchema::of::<RunPaused>(),
        EventSchema::of::<RunResumed>(),
        EventSchema::of::<RunRolledBack>(),
        EventSchema::of::<RunStarted>(),
        EventSchema::of::<SessionAppended>(),
        EventSchema::of::<SessionEnded>(),
        EventSchema::of::<SessionPatched>(),
        EventSchema::of::<SessionSnapshotted>(),
        EventSchema::of::<StepBlocked>(),
        EventSchema::of::<StepCompleted>(),
        EventSchema::of::<StepFailed>(),
        EventSchema::of::<StepSkipped>(),
        EventSchema::of::<StepStarted>(),
        EventSchema::of::<TaskClaimed>(),
        EventSchema::of::<TaskCreated>(),
        EventSchema::of::<TaskLeaseRenewed>(),
        EventSchema::of::<TaskMoved>(),
        EventSchema::of::<TaskRefused>(),
        EventSchema::of::<ToolCallCompleted>(),
        EventSchema::of::<ToolCallFailed>(),
        EventSchema::of::<ToolCallRequested>(),
        EventSchema::of::<TrayClosed>(),
        EventSchema::of::<TrayDeadLettered>(),
        EventSchema::of::<TrayOpened>(),
        EventSchema::of::<VerdictGiven>(),
    ]
}

/// The steps that take payloads of older versions to the newest. Every type is at its first
/// version, so there are none; a reader that asks here keeps working when there are.
pub fn upcasters() -> Upcasters {
    Upcasters::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::namespace::is_owned;
    use runstone_codec::{EventError, EventLimits, NewEvent, Schema};
    use serde_json::value::RawValue;
    use serde_json::{Value, json};
    use std::collections::{BTreeMap, BTreeSet};

    fn raw() -> Box<RawValue> {
        RawValue::from_string("[1]".to_owned()).unwrap()
    }

    /// One event of every type, with every member set.
    fn samples() -> Vec<NewEvent> {
        let word = || "x".to_owned();
        let settings = super::super::SettingsInForce {
            position: Some(1),
            sha256: word(),
        };
        let started = RunStarted {
            name: word(),
            input: Some(raw()),
            target: Some(word()),
            output_schema: Some(raw()),
            settings: Some(settings),
            original: Some(raw()),
        };
        let said = ChatMessage {
            role: word(),
            content: Vec::new(),
            original: Some(raw()),
        };
        let asked = ToolCallRequested {
            call_id: word(),
            name: word(),
            arguments: raw(),
        };
        let done = ToolCallCompleted {
            call_id: word(),
            name: Some(word()),
            result: raw(),
        };
        let failed = ToolCallFailed {
            call_id: word(),
            name: Some(word()),
            error: raw(),
        };
        let ended = RunFinished {
            status: word(),
            value: Some(raw()),
            reason: Some(word()),
        };
        let call = LlmCallCompleted {
            call_id: word(),
            model: Some(word()),
            usd_micros: Some(1),
            ..LlmCallCompleted::default()
        };
        let verdict = VerdictGiven {
            subject: word(),
            by: word(),
            verdict: word(),
            severity: word(),
            detail: raw(),
        };
        let told = vec![
            NewEvent::typed(&said, "s"),
            NewEvent::typed(&call, "s"),
            NewEvent::typed(&ended, "s"),
            NewEvent::typed(&started, "s"),
            NewEvent::typed(&done, "s"),
            NewEvent::typed(&failed, "s"),
            NewEvent::typed(&asked, "s"),
            NewEvent::typed(&verdict, "s"),
        ];
        let mut all: Vec<NewEvent> = told
            .into_iter()
            .chain(by_commands())
            .chain(of_agents())
            .chain(of_tasks())
            .chain(of_budgets())
            .chain(of_trays())
            .map(Result::unwrap)
            .collect();
        all.sort_by(|one, other| one.event_type.cmp(&other.event_type));
        all
    }

    /// Those that commands alone record.
    fn by_commands() -> Vec<Result<NewEvent, EventError>> {
        let word = || "x".to_owned();
        let paused = RunPaused {
            node: Some(word()),
            approval_id: Some(word()),
        };
        let output = super::super::StepOutput {
            content: Some(raw()),
            structured: Some(raw()),
        };
        let stepped = StepCompleted {
            output: Some(output),
            confidence: Some(0.5),
            tokens: Some(1),
            usd_micros: Some(2),
            gco2_mg: Some(3),
            ..Default::default()
        };
        let forked = RunForked {
            name: Some(word()),
            settings: Some(super::super::SettingsInForce {
                position: Some(1),
                sha256: word(),
            }),
        };
        let back = RunRolledBack {
            reason: Some(word()),
        };
        let stepping = StepStarted {
            kind: Some(word()),
            ..Default::default()
        };
        let claimed = EffectClaimed {
            args: Some(raw()),
            original: Some(raw()),
            ..Default::default()
        };
        let completed = EffectCompleted {
            result: Some(raw()),
            rejected: Some(word()),
        };
        let unknown = EffectOutcomeUnknown {
            detail: Some(word()),
        };
        let reconciled = EffectReconciled {
            result: Some(raw()),
            evidence: Some(word()),
        };
        let sent = MessageSent {
            message_type: Some(word()),
            directive: Some(word()),
            text: Some(word()),
            body: Some(raw()),
            reply_to: Some(word()),
            ..Default::default()
        };
        let asked = ApprovalRequested {
            action: Some(word()),
            args: Some(raw()),
            ..Default::default()
        };
        let voted = ApprovalVoted {
            comment: Some(word()),
        };
        let decided = ApprovalDecided {
            comment: Some(word()),
        };
        vec![
            NewEvent::typed(&decided, "s"),
            NewEvent::typed(&ApprovalExpired::default(), "s"),
            NewEvent::typed(&asked, "s"),
            NewEvent::typed(&voted, "s"),
            NewEvent::typed(&MessageRead::default(), "s"),
            NewEvent::typed(&sent, "s"),
            NewEvent::typed(&EffectCancelled::default(), "s"),
            NewEvent::typed(&claimed, "s"),
            NewEvent::typed(&completed, "s"),
            NewEvent::typed(&EffectFailed::default(), "s"),
            NewEvent::typed(&EffectLeaseRenewed::default(), "s"),
            NewEvent::typed(&unknown, "s"),
            NewEvent::typed(&reconciled, "s"),
            NewEvent::typed(&EffectRefused::default(), "s"),
            NewEvent::typed(&EffectReleased::default(), "s"),
            NewEvent::typed(&paused, "s"),
            NewEvent::typed(&forked, "s"),
            NewEvent::typed(&RunLeaseRenewed::default(), "s"),
            NewEvent::typed(&RunResumed::default(), "s"),
            NewEvent::typed(&back, "s"),
            NewEvent::typed(&SessionAppended::default(), "s"),
            NewEvent::typed(&SessionEnded::default(), "s"),
            NewEvent::typed(&SessionPatched::default(), "s"),
            NewEvent::typed(&SessionSnapshotted::default(), "s"),
            NewEvent::typed(&StepBlocked::default(), "s"),
            NewEvent::typed(&stepped, "s"),
            NewEvent::typed(&StepFailed::default(), "s"),
            NewEvent::typed(&StepSkipped::default(), "s"),
            NewEvent::typed(&stepping, "s"),
        ]
    }

    /// Those of agents.
    fn of_agents() -> [Result<NewEvent, EventError>; 9] {
        let word = || "x".to_owned();
        let registered = AgentRegistered {
            role: Some(word()),
            labels: vec![word()],
        };
        let spawned = AgentHelperSpawned {
            role: Some(word()),
            spawned_for: Some(word()),
        };
        let powered = AgentPowered {
            reason: Some(word()),
        };
        [
            NewEvent::typed(&AgentOrderRefused::default(), "s"),
            NewEvent::typed(&powered, "s"),
            NewEvent::typed(&registered, "s"),
            NewEvent::typed(&spawned, "s"),
            NewEvent::typed(&AgentRetired::default(), "s"),
            NewEvent::typed(&AgentRevoked::default(), "s"),
            NewEvent::typed(&AgentSlept::default(), "s"),
            NewEvent::typed(&AgentStopOrdered::default(), "s"),
            NewEvent::typed(&AgentWoke::default(), "s"),
        ]
    }

    /// Those of tasks.
    fn of_tasks() -> [Result<NewEvent, EventError>; 5] {
        let word = || Some("x".to_owned());
        let created = TaskCreated {
            description: word(),
            task_type: word(),
            agent: word(),
            parent: word(),
            creator: word(),
            tray: word(),
            depends_on: vec!["x".to_owned()],
            admission: [("consumer".to_owned(), "x".to_owned())].into(),
            ..Default::default()
        };
        let moved = TaskMoved {
            comment: word(),
            ..Default::default()
        };
        let refused = TaskRefused {
            title: word(),
            ..Default::default()
        };
        [
            NewEvent::typed(&TaskClaimed::default(), "s"),
            NewEvent::typed(&created, "s"),
            NewEvent::typed(&TaskLeaseRenewed::default(), "s"),
            NewEvent::typed(&moved, "s"),
            NewEvent::typed(&refused, "s"),
        ]
    }

    fn of_budgets() -> Vec<Result<NewEvent, EventError>> {
        let owner = || Some("x".to_owned());
        let limits = || BTreeMap::from([("all.steps".to_owned(), 1)]);
        let amounts = || BTreeMap::from([("steps".to_owned(), 1)]);
        let opened = BudgetOpened {
            owner: "x".to_owned(),
            parent: owner(),
            preset: owner(),
            limits: limits(),
        };
        let changed = BudgetChanged {
            owner: "x".to_owned(),
            limits: limits(),
            reason: owner(),
        };
        let reserved = BudgetReserved {
            owner: owner(),
            amounts: amounts(),
        };
        let settled = BudgetSettled {
            owner: owner(),
            amounts: amounts(),
        };
        let released = BudgetReleased {
            owner: owner(),
            reason: owner(),
        };
        let spent = BudgetCharged {
            owner: owner(),
            amounts: amounts(),
        };
        let warned = BudgetWarned { owner: owner() };
        let exceeded = BudgetExceeded { owner: owner() };
        vec![
            NewEvent::typed(&opened, "s"),
            NewEvent::typed(&changed, "s"),
            NewEvent::typed(&reserved, "s"),
            NewEvent::typed(&settled, "s"),
            NewEvent::typed(&released, "s"),
            NewEvent::typed(&spent, "s"),
            NewEvent::typed(&warned, "s"),
            NewEvent::typed(&exceeded, "s"),
        ]
    }

    /// Those of trays.
    fn of_trays() -> [Result<NewEvent, EventError>; 3] {
        let dead = TrayDeadLettered {
            error: Some("x".to_owned()),
            ..Default::default()
        };
        [
            NewEvent::typed(&TrayClosed::default(), "s"),
            NewEvent::typed(&dead, "s"),
            NewEvent::typed(&TrayOpened::default(), "s"),
        ]
    }

    fn keys(object: &Value) -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn types_are_listed_once_in_order() {
        let listed = schemas();
        assert!(listed.is_sorted_by(|one, next| one.name < next.name));
        assert_eq!(listed.len(), samples().len());
    }

    #[test]
    fn schemas_name_the_members_of_the_payload() {
        for (known, mut event) in schemas().into_iter().zip(samples()) {
            event.check(&EventLimits::default()).unwrap();
            assert_eq!(
                (known.name, known.version),
                (&*event.event_type, event.schema_version)
            );
            let schema = &known.json_schema;
            assert_eq!(schema["type"], "object", "{}", known.name);
            assert!(schema["description"].is_string(), "{}", known.name);
            let payload: Value = serde_json::from_slice(&event.payload).unwrap();
            assert_eq!(
                schema.get("properties").map(keys).unwrap_or_default(),
                keys(&payload),
                "{}",
                known.name
            );
            let required = schema.get("required").cloned().unwrap_or(json!([]));
            let required: BTreeSet<String> = serde_json::from_value(required).unwrap();
            assert!(required.is_subset(&keys(&payload)), "{}", known.name);
        }
    }

    #[test]
    fn what_a_run_costs_and_how_it_ends_is_written_by_commands_only() {
        let free: Vec<_> = schemas()
            .iter()
            .map(|known| known.name)
            .filter(|name| !is_owned(name))
            .collect();
        let expected = [
            "chat.message",
            "tool.call.completed",
            "tool.call.failed",
            "tool.call.requested",
        ];
        assert_eq!(free, expected);
    }

    #[test]
    fn every_older_version_leads_to_the_newest() {
        for known in schemas() {
            for version in 1..known.version {
                let old = Schema::new(known.name, version);
                let reached = upcasters().newest(old.clone(), json!({}));
                assert!(
                    !matches!(reached, Ok((schema, _)) if schema == old),
                    "{old}"
                );
            }
        }
    }
}
