//! Which call of a tool spawned which sub-agent.

use std::collections::{BTreeMap, VecDeque};

use uuid::Uuid;

use super::{AGENT, StreamId};
use crate::calls::OpenCalls;
use crate::identity::short_digest;

/// Most calls that are remembered to have asked for a sub-agent.
const MAX_ASKED: usize = 65_536;

/// A call that asks for a sub-agent.
#[derive(Debug, Clone)]
pub(super) struct Spawn {
    /// The event of the call.
    pub(super) call: Option<Uuid>,
    /// The stream of the call.
    pub(super) parent: StreamId,
    /// The kind of sub-agent.
    pub(super) name: String,
}

impl Spawn {
    /// What is assumed of a sub-agent that no call is known to have asked for.
    pub(super) fn unknown(session: StreamId) -> Self {
        Self {
            call: None,
            parent: session,
            name: AGENT.to_owned(),
        }
    }
}

/// Calls of tools, and the sub-agents among them.
#[derive(Debug, Default)]
pub(super) struct Agents {
    calls: BTreeMap<StreamId, OpenCalls>,
    /// Calls whose sub-agent has not begun, by session and digest of the prompt.
    asked: BTreeMap<(StreamId, [u8; 16]), VecDeque<Spawn>>,
    count: usize,
    /// Sub-agents whose call was not answered.
    running: BTreeMap<Uuid, StreamId>,
}

impl Agents {
    /// The calls of a stream.
    pub(super) fn of(&mut self, stream: StreamId) -> &mut OpenCalls {
        self.calls.entry(stream).or_default()
    }

    /// Notes a call that asks for a sub-agent with this prompt.
    pub(super) fn asked(&mut self, session: StreamId, prompt: &str, spawn: Spawn) {
        if self.count < MAX_ASKED {
            self.count += 1;
            let key = (session, short_digest(prompt.as_bytes()));
            self.asked.entry(key).or_default().push_back(spawn);
        }
    }

    /// Takes the oldest call that asked for a sub-agent with this prompt: `stream` is its.
    pub(super) fn spawned(
        &mut self,
        session: StreamId,
        prompt: &str,
        stream: StreamId,
    ) -> Option<Spawn> {
        let key = (session, short_digest(prompt.as_bytes()));
        let waiting = self.asked.get_mut(&key)?;
        let spawn = waiting.pop_front()?;
        if waiting.is_empty() {
            self.asked.remove(&key);
        }
        self.count = self.count.saturating_sub(1);
        if let Some(call) = spawn.call {
            self.running.insert(call, stream);
        }
        Some(spawn)
    }

    /// Takes the sub-agent that ends with the answer to this call.
    pub(super) fn finished(&mut self, call: Uuid) -> Option<StreamId> {
        self.running.remove(&call)
    }
}
