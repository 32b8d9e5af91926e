//! What can be asked of the agent domain where another process holds the log: each command of the
//! folds, as the type that a program gives it in.

use crate::agents::{
    AgentChange, AgentError, Agents, Heard, Messages, NewHelper, NewMessage, Reaped, RetireReason,
    Sent, Spawned,
};
use crate::approvals::{Approval, ApprovalError, ApprovalRequest, Approvals, Vote};
use crate::budgets::{Amounts, BudgetError, Budgets, Charged, Open, Opened, Owner, Reserved};
use crate::command::{Waiting, at_once};
use crate::effects::{Change, Claim, Claimed, EffectError, Effects, Target};
use crate::lease::Hold;
use crate::runs::{self, Begin, Begun, Fork, Forked, RollBack, RunError, RunHeld};
use crate::sessions;
use crate::sweep::{SweepError, Swept, sweep};
use crate::tasks::ask::Order;
use crate::tasks::{Created, Granted, TaskError, TaskId, Tasks};
use crate::trays::{self, NewTrayTask, TrayError, Trays};
use runstone_codec::{Draft, Position};
use runstone_store::holder::{Lost, Refusal, Told, WireDraft};
use runstone_store::{AppendError, Log, asks, refusals};

/// Asked again it might be done twice.
fn not_again(lost: Lost) -> AppendError {
    AppendError::Told(Box::new(Told::unknown(lost)))
}

refusals! {
    EffectError: AppendError::lost,
    RunError: AppendError::lost,
    ApprovalError: AppendError::lost,
    TaskError: AppendError::lost,
    BudgetError: not_again,
    TrayError: not_again,
    AgentError: not_again,
}

impl Refusal for SweepError {
    fn told(&self) -> Told {
        match self {
            Self::Tasks(error) => error.told(),
            Self::Effects(error) => error.told(),
            Self::Approvals(error) => error.told(),
            Self::Agents(error) => error.told(),
            Self::Budgets(error) => error.told(),
        }
    }

    fn of(told: Told) -> Self {
        Self::Tasks(TaskError::Append(AppendError::Told(Box::new(told))))
    }

    fn lost(lost: Lost) -> Self {
        Self::Tasks(TaskError::lost(lost))
    }
}

/// The tasks of a handle that is somewhere else.
fn tasks_of(log: &Log, stream: String, scope: Option<String>, actor: Option<String>) -> Tasks {
    let tasks = Tasks::new(log).stream(stream);
    let tasks = match scope {
        Some(scope) => tasks.scope(scope),
        None => tasks,
    };
    match actor {
        Some(actor) => tasks.actor(actor),
        None => tasks,
    }
}

/// The trays of a handle that is somewhere else.
fn trays_of(log: &Log, scope: Option<String>, actor: Option<String>) -> Trays {
    let trays = Trays::new(log);
    let trays = match scope {
        Some(scope) => trays.scope(scope),
        None => trays,
    };
    match actor {
        Some(actor) => trays.actor(actor),
        None => trays,
    }
}

asks! {
    /// Begins a run, or goes on with it, and holds it.
    "run/begin" BeginRun { begin: Begin } -> Begun, RunError:
        |self, log| runs::begin_blocking(log, &self.begin.seen_afar());

    /// The holder of a run goes on.
    "run/renew" RenewRun { held: RunHeld, hold: Hold } -> Position, RunError:
        |self, log| runs::renew_blocking(log, &self.held, self.hold.seen_afar());

    /// Records what happens in a run that the caller holds, all or none.
    "run/record" RecordInRun { held: RunHeld, drafts: Vec<WireDraft> }
        -> Vec<Position>, RunError: |self, log| {
        let drafts = self.drafts.into_iter().map(Draft::try_from);
        let drafts = drafts.collect::<Result<Vec<_>, _>>().map_err(AppendError::from)?;
        runs::record_blocking(log, &self.held, drafts)
    };

    /// Records the session of a run as it is, for who reads it later.
    "session/snapshot" SnapshotSession { held: RunHeld } -> Option<u64>, RunError:
        |self, log| sessions::snapshot_blocking(log, &self.held);

    /// Claims a call.
    "effect/claim" ClaimEffect { claim: Claim } -> Claimed, EffectError:
        |self, log| Effects::new(log).claim_blocking(&self.claim.seen_afar());

    /// Records what came of a call, or what is done to it.
    "effect/change" ChangeEffect { target: Target, change: Change } -> Position, EffectError:
        |self, log| {
            let holds_run = match self.target.run() {
                Some(run) => runs::holds(log, run)?,
                None => false,
            };
            let change = self.change.seen_afar(holds_run);
            Effects::new(log).change_blocking(&self.target, &change)
        };

    /// Asks people whether a call may be made.
    "approval/request" RequestApproval { request: ApprovalRequest } -> Approval, ApprovalError:
        |self, log| Approvals::new(log).request_blocking(&self.request);

    /// Votes on a request.
    "approval/vote" VoteApproval {
        request: Position,
        is_yes: bool,
        #[serde(default)]
        comment: Option<String>,
    } -> Approval, ApprovalError: |self, log| {
        let vote = if self.is_yes { Vote::Approve } else { Vote::Reject };
        Approvals::new(log).vote_blocking(self.request, vote, self.comment.as_deref())
    };

    /// Takes a request back.
    "approval/withdraw" WithdrawApproval {
        request: Position,
        #[serde(default)]
        comment: Option<String>,
    } -> Approval, ApprovalError: |self, log| {
        Approvals::new(log).withdraw_blocking(self.request, self.comment.as_deref())
    };

    /// Records that nobody decided in time.
    "approval/expire" ExpireApproval { request: Position } -> Approval, ApprovalError:
        |self, log| Approvals::new(log).expire_blocking(self.request);

    /// Opens a budget, or changes its limits.
    "budget/open" OpenBudget { open: Open } -> Opened, BudgetError:
        |self, log| Budgets::new(log).open_blocking(&self.open);

    /// Reserves amounts.
    "budget/reserve" ReserveBudget { owner: Owner, amounts: Amounts, hold: Hold }
        -> Reserved, BudgetError: |self, log| {
        Budgets::new(log).reserve_blocking(self.owner, &self.amounts, self.hold.seen_afar())
    };

    /// Spends amounts, if there is room.
    "budget/spend" SpendBudget { owner: Owner, amounts: Amounts } -> Position, BudgetError:
        |self, log| Budgets::new(log).spend_blocking(self.owner, &self.amounts);

    /// Charges amounts after the fact.
    "budget/charge" ChargeBudget { owner: Owner, amounts: Amounts } -> Charged, BudgetError:
        |self, log| Budgets::new(log).charge_blocking(self.owner, &self.amounts);

    /// Charges what a reservation really cost.
    "budget/settle" SettleBudget { fence: Position, actual: Amounts } -> Charged, BudgetError:
        |self, log| Budgets::new(log).settle_blocking(self.fence, &self.actual);

    /// Gives a reservation back.
    "budget/release" ReleaseBudget {
        fence: Position,
        #[serde(default)]
        reason: Option<String>,
    } -> Position, BudgetError:
        |self, log| Budgets::new(log).release_blocking(self.fence, self.reason);

    /// Creates, moves, claims, renews or gives back a task.
    "task" OrderTask {
        stream: String,
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        actor: Option<String>,
        order: Order,
    } -> Granted, TaskError: |self, log| {
        let tasks = tasks_of(log, self.stream, self.scope, self.actor);
        match self.order.seen_afar() {
            back @ Order::GiveBack { .. } => {
                at_once(tasks.give_back(&back, Waiting::Blocking)).map(Granted::Done)
            }
            order => tasks.run_blocking(&order, Granted::of),
        }
    };

    /// Goes on from a point of a run in another one.
    "run/fork" ForkRun { fork: Fork } -> Forked, RunError:
        |self, log| runs::fork_blocking(log, &self.fork);

    /// Rolls session and steps of a run back.
    "run/roll_back" RollBackRun { back: RollBack } -> Position, RunError:
        |self, log| runs::roll_back_blocking(log, &self.back);

    /// Records that leases of tasks are over.
    "task/sweep" SweepTasks {
        stream: String,
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        actor: Option<String>,
    } -> Vec<TaskId>, TaskError:
        |self, log| tasks_of(log, self.stream, self.scope, self.actor).sweep_blocking();

    /// Records that leases of tasks in trays are over.
    "tray/sweep" SweepTrays {
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        actor: Option<String>,
    } -> Vec<TaskId>, TrayError:
        |self, log| trays_of(log, self.scope, self.actor).sweep_blocking();

    /// Records every reservation whose lease is over.
    "budget/sweep" SweepBudgets {} -> usize, BudgetError:
        |self, log| Budgets::new(log).sweep_blocking();

    /// Records of calls whose leases are over that their outcomes are unknown.
    "effect/sweep" SweepEffects {} -> usize, EffectError:
        |self, log| Effects::new(log).sweep_blocking();

    /// Opens a tray.
    "tray/open" OpenTray {
        #[serde(default)]
        scope: Option<String>,
        tray: String,
    } -> Position, TrayError:
        |self, log| trays_of(log, self.scope, None).open_blocking(&self.tray);

    /// Closes a tray: nothing more is put into it.
    "tray/close" CloseTray {
        #[serde(default)]
        scope: Option<String>,
        tray: String,
    } -> Position, TrayError:
        |self, log| trays_of(log, self.scope, None).close_blocking(&self.tray);

    /// Puts a task into a tray.
    "tray/add" AddToTray {
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        actor: Option<String>,
        tray: String,
        new: NewTrayTask,
    } -> Created, TrayError: |self, log| {
        trays_of(log, self.scope, self.actor).add_blocking(&self.tray, &self.new)
    };

    /// Claims the next task of a tray.
    "tray/claim" ClaimOfTray {
        #[serde(default)]
        scope: Option<String>,
        #[serde(default)]
        actor: Option<String>,
        tray: String,
        holder: String,
        hold: Hold,
    } -> trays::Claim, TrayError: |self, log| {
        let trays = trays_of(log, self.scope, self.actor);
        trays.claim_blocking(&self.tray, &self.holder, self.hold.seen_afar())
    };

    /// Holds on to a task of a tray.
    "tray/renew" RenewOfTray { task: TaskId, fence: Position, hold: Hold } -> (), TrayError:
        |self, log| {
            let hold = self.hold.seen_afar();
            Trays::new(log).renew_blocking(&self.task, self.fence, hold)
        };

    /// The holder has done a task of a tray.
    "tray/complete" CompleteOfTray {
        #[serde(default)]
        actor: Option<String>,
        task: TaskId,
        fence: Position,
        summary: String,
    } -> Position, TrayError: |self, log| {
        let trays = trays_of(log, None, self.actor);
        trays.complete_blocking(&self.task, self.fence, &self.summary)
    };

    /// The holder gives a task of a tray back; with what went wrong, if the work failed.
    "tray/release" ReleaseOfTray {
        #[serde(default)]
        actor: Option<String>,
        task: TaskId,
        fence: Position,
        #[serde(default)]
        failed: Option<String>,
    } -> Position, TrayError: |self, log| {
        let trays = trays_of(log, None, self.actor);
        match &self.failed {
            Some(why) => trays.fail_blocking(&self.task, self.fence, why),
            None => trays.release_blocking(&self.task, self.fence),
        }
    };

    /// Registers an agent, puts it to sleep, wakes it, powers it or revokes it.
    "agent/change" ChangeAgent { name: String, change: AgentChange }
        -> Option<Position>, AgentError:
        |self, log| Agents::new(log).change_blocking(&self.name, &self.change);

    /// Spawns a helper.
    "agent/spawn" SpawnHelper { helper: NewHelper } -> Spawned, AgentError:
        |self, log| Agents::new(log).spawn_blocking(&self.helper);

    /// Retires a helper.
    "agent/retire" RetireHelper { name: String, why: RetireReason }
        -> Option<Position>, AgentError:
        |self, log| Agents::new(log).retire_blocking(&self.name, self.why);

    /// Lets helpers go whose time is over.
    "agent/reap" ReapHelpers {} -> Vec<Reaped>, AgentError:
        |self, log| Agents::new(log).reap_blocking();

    /// Sends a message.
    "message/send" SendMessage { message: NewMessage } -> Sent, AgentError:
        |self, log| Messages::new(log).send_blocking(&self.message);

    /// What an agent has to read, and whether it must exit; orders are settled by it.
    "message/attend" AttendMessages {
        agent: String,
        #[serde(default)]
        after: Option<Position>,
    } -> Heard, AgentError:
        |self, log| Messages::new(log).attend_blocking(&self.agent, self.after);

    /// Says up to where somebody has read.
    "message/mark_read" MarkRead { reader: String, up_to: Position } -> (), AgentError:
        |self, log| Messages::new(log).mark_read_blocking(&self.reader, self.up_to);

    /// Records everything that has expired.
    "sweep" SweepAll {} -> Swept, SweepError: |self, log| sweep(log);
}
