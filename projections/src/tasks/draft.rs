//! What a command may record: candidates, of which the decider chooses.

use super::ask::NewTask;
use super::machine;
use super::{Task, TaskId, TaskState};
use crate::events::control::task as field;
use crate::events::{TaskClaimed, TaskCreated, TaskLeaseRenewed, TaskMoved, TaskRefused};
use runstone_codec::{Control, Draft, EventError, Keyed, NewEvent, TypedEvent};

/// Who moves a task when the log does.
const SYSTEM: &str = "system";

/// The candidates of a creation: the refusal and the creation.
pub(crate) fn created(
    new: &NewTask,
    (stream, scope): (&str, Option<&str>),
    actor: &str,
) -> Result<Vec<Draft>, EventError> {
    let event = new.said();
    let refused = TaskRefused {
        id: new.id.clone(),
        title: Some(new.called().to_owned()),
        actor: actor.to_owned(),
    };
    let draft = |event: NewEvent| {
        let event = match scope {
            Some(scope) => event.scope(scope),
            None => event,
        };
        let mut control = Control::new().text(field::ACTOR, actor);
        if let Some(agent) = &new.created_by {
            control = control.text(field::CREATED_BY, agent.as_str());
        }
        Draft::new(event)
            .control(control)
            .keyed(Keyed::tag(field::LABEL, field::LABEL, [new.id.as_str()]))
            .keyed(keyed(field::TASK, field::LABEL, &new.id))
    };
    let mut creation = draft(NewEvent::typed(&event, stream)?);
    creation.control = creation.control.u64(field::TO, new.state.number());
    for (number, label, name) in [
        (field::AGENT, field::AGENT_LABEL, &new.agent),
        (field::TYPE, field::TYPE_LABEL, &new.task_type),
        (field::PARENT, field::LABEL, &new.parent),
        (field::CREATOR, field::LABEL, &new.creator),
    ] {
        if let Some(name) = name {
            creation = creation.keyed(keyed(number, label, name));
        }
    }
    let refusal = draft(NewEvent::typed(&refused, stream)?);
    Ok(vec![refusal, creation])
}

impl NewTask {
    /// What it says of itself, outside of trays.
    pub(crate) fn said(&self) -> TaskCreated {
        TaskCreated {
            id: self.id.clone(),
            title: self.called().to_owned(),
            description: self.description.clone(),
            task_type: self.task_type.clone(),
            agent: self.agent.clone(),
            parent: self.parent.clone(),
            creator: self.creator.clone(),
            tray: None,
            depends_on: Vec::new(),
            admission: self.admission.clone(),
            state: self.state.as_str().to_owned(),
        }
    }
}

/// The digest of a name, for a field of control.
pub(crate) fn keyed(number: u16, label: &str, name: &str) -> Keyed {
    Keyed::control(number, label, [name])
}

/// Events of a task that is there, in its stream.
pub(crate) struct Of<'a> {
    pub(crate) task: &'a Task,
    /// Its id as text, if that can be read.
    pub(crate) id: &'a str,
    pub(crate) actor: &'a str,
}

impl Of<'_> {
    fn draft<E: TypedEvent>(&self, event: &E, control: Control) -> Result<Draft, EventError> {
        let TaskId { digest, .. } = &self.task.id;
        let event = NewEvent::typed(event, self.task.stream.as_str())?.tag(self.task.id.tag());
        Ok(Draft::new(event).control(control.bytes(field::TASK, *digest)))
    }

    fn moved(
        &self,
        (from, to): (TaskState, TaskState),
        actor: &str,
        comment: Option<&str>,
    ) -> Result<Draft, EventError> {
        let event = TaskMoved {
            id: self.id.to_owned(),
            from: from.as_str().to_owned(),
            to: to.as_str().to_owned(),
            reason: machine::reason(from, to).unwrap_or_default().to_owned(),
            actor: actor.to_owned(),
            comment: comment.map(str::to_owned),
        };
        let control = Control::new()
            .u64(field::FROM, from.number())
            .u64(field::TO, to.number())
            .text(field::ACTOR, actor);
        self.draft(&event, control)
    }

    /// What every command may record: the refusal, and the way of a task whose holder is gone.
    fn common(&self, comment: Option<&str>) -> Result<Vec<Draft>, EventError> {
        let refused = TaskRefused {
            id: self.id.to_owned(),
            title: None,
            actor: self.actor.to_owned(),
        };
        let control = Control::new().text(field::ACTOR, self.actor);
        let blocked = (TaskState::InProgress, TaskState::Blocked);
        let reopened = (TaskState::Blocked, TaskState::Todo);
        Ok(vec![
            self.draft(&refused, control)?,
            self.moved(blocked, SYSTEM, comment)?,
            self.moved(reopened, SYSTEM, None)?,
        ])
    }

    /// The candidates of a move: one for each state that leads to the target.
    pub(crate) fn moves(
        &self,
        to: TaskState,
        comment: Option<&str>,
    ) -> Result<Vec<Draft>, EventError> {
        let mut all = self.common(None)?;
        for from in machine::sources(to) {
            all.push(self.moved((from, to), self.actor, comment)?);
        }
        Ok(all)
    }

    /// The candidates of a claim.
    pub(crate) fn claim(&self, holder: &str) -> Result<Vec<Draft>, EventError> {
        let mut all = self.common(None)?;
        let claimed = TaskClaimed {
            id: self.id.to_owned(),
        };
        all.push(self.draft(&claimed, Control::new().text(field::HOLDER, holder))?);
        let started = (TaskState::Todo, TaskState::InProgress);
        all.push(self.moved(started, holder, None)?);
        Ok(all)
    }

    /// The candidates of a task that is given back.
    pub(crate) fn back(&self, comment: Option<&str>) -> Result<Vec<Draft>, EventError> {
        self.common(comment)
    }

    /// The candidates of a task that is given back, or given up for good.
    pub(crate) fn give_up(&self, comment: Option<&str>) -> Result<Vec<Draft>, EventError> {
        let mut all = self.common(comment)?;
        for from in [TaskState::Blocked, TaskState::Todo] {
            all.push(self.moved((from, TaskState::Cancelled), SYSTEM, None)?);
        }
        Ok(all)
    }

    /// The candidates of a renewal.
    pub(crate) fn renewal(&self) -> Result<Vec<Draft>, EventError> {
        let mut all = self.common(None)?;
        let renewed = TaskLeaseRenewed {
            id: self.id.to_owned(),
        };
        all.push(self.draft(&renewed, Control::new())?);
        Ok(all)
    }
}
