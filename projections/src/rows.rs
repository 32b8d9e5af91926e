//! Rows of folds as bytes. This is the one module that knows bincode.
//!
//! Rows are derived and can be thrown away: a changed row type is a new version of its fold, and
//! the fold is folded again. Nothing here is hashed into the log, signed or exported.

use bincode::config::{Configuration, Limit, LittleEndian, Varint, standard};
use bincode::{Decode, Encode};
use runstone_store::{FoldError, RowValue, Rows, TypedRow};
use std::sync::Arc;

/// Most bytes that decoding a row may claim.
const LIMIT: usize = 64 * 1024;
/// Bytes that most rows fit into.
const USUAL: usize = 96;

const CONFIG: Configuration<LittleEndian, Varint, Limit<LIMIT>> = standard().with_limit::<LIMIT>();

/// What is known of one stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct RunRow {
    pub(crate) scope: String,
    pub(crate) imported: bool,
    /// Position of the first `run.started` or `run.forked`.
    pub(crate) started: Option<u64>,
    pub(crate) parent: Option<String>,
    /// The stream that it was forked from, and the last position that it shares with it.
    pub(crate) forked: Option<(String, u64)>,
    pub(crate) finished: Option<FinishedRow>,
    /// Position of `run.started` or of the last `run.resumed`.
    pub(crate) fence: u64,
    /// Who holds it, if somebody does.
    pub(crate) lease: Option<LeaseRow>,
    /// The agent that began or resumed it last, if it was one.
    pub(crate) claimed_as: Option<String>,
    /// Whose budget it spends.
    pub(crate) budget: Option<OwnerKey>,
    pub(crate) paused: bool,
    /// How its last holder let go of it.
    pub(crate) let_go: Option<String>,
    pub(crate) events: u64,
    pub(crate) steps: u64,
    /// Different nodes.
    pub(crate) nodes: u64,
    pub(crate) steps_blocked: u64,
    pub(crate) pauses: u64,
    pub(crate) refusals: u64,
    pub(crate) verdicts: u64,
    pub(crate) turns: u64,
    pub(crate) tool_calls: u64,
    pub(crate) tool_results: u64,
    pub(crate) tool_errors: u64,
    pub(crate) llm_calls: u64,
    pub(crate) usage: UsageSum,
    /// Reports of model calls that name no step.
    pub(crate) llm_reports: u64,
    /// What steps without a model call of theirs say that they used.
    pub(crate) own: StepSum,
    /// Carbon of all steps, in milligrams.
    pub(crate) gco2_mg: u128,
    pub(crate) first_recorded_at_us: u64,
    pub(crate) last_recorded_at_us: u64,
    /// Earliest and latest time by the producers' clocks, which need not go forward.
    pub(crate) occurred_us: Option<(u64, u64)>,
    pub(crate) last: u64,
}

impl TypedRow for RunRow {
    fn encode(&self) -> Result<Vec<u8>, FoldError> {
        encode(self)
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct FinishedRow {
    pub(crate) position: u64,
    pub(crate) recorded_at_us: u64,
    pub(crate) occurred_at_us: Option<u64>,
    pub(crate) status: Option<String>,
}

/// A row, and after how many events of its stream it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Dated<T> {
    pub(crate) event: u64,
    pub(crate) row: T,
}

/// The newest attempt of one step.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StepRow {
    /// While it is being done: reports of model calls without a step that stood before it.
    pub(crate) reports_before: Option<u64>,
    /// Whether a model was called in it.
    pub(crate) has_calls: bool,
    /// What it says that it used, as it is counted.
    pub(crate) counted: StepSum,
}

/// What steps say that they used. Wide, so that no recording makes a sum overflow and a
/// subtraction wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StepSum {
    pub(crate) tokens: u128,
    pub(crate) usd_micros: u128,
}

/// The last report of one model call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct UsageRow {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_read_tokens: u64,
    pub(crate) cache_write_tokens: u64,
    pub(crate) usd_micros: u64,
}

/// Usage of all calls of a stream. Wider than a report, so that no recording can make a sum
/// overflow and a subtraction wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct UsageSum {
    pub(crate) input_tokens: u128,
    pub(crate) output_tokens: u128,
    pub(crate) cache_read_tokens: u128,
    pub(crate) cache_write_tokens: u128,
    pub(crate) usd_micros: u128,
}

/// Durations of one node, tool or agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LatencyRow {
    /// Position of an event whose content has the name.
    pub(crate) named_at: u64,
    /// Bins of the sketch and how many durations each has, in order.
    pub(crate) bins: Vec<(i32, u64)>,
    pub(crate) max_us: u64,
}

/// Something that began and did not end, or, of a recording, the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PendingRow {
    pub(crate) at_us: u64,
    /// Position of the beginning, and the key of its durations; `None` where only the end is known.
    pub(crate) began: Option<(u64, Vec<u8>)>,
}

/// How an agent stands. Numbers are those of control.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AgentRow {
    /// Position of `agent.registered`.
    pub(crate) registered: u64,
    pub(crate) state: u8,
    /// Position and time of the event that made it so.
    pub(crate) since: u64,
    pub(crate) since_us: u64,
    /// A supervisor should not run it.
    pub(crate) is_stopped: bool,
    pub(crate) is_revoked: bool,
    /// Seconds after which it means to look again, if it ever slept.
    pub(crate) timeout_s: Option<u64>,
    /// Position of the newest order that it took or let pass.
    pub(crate) orders_seen: u64,
    /// A person or a commander stopped it: its parent does not power it on.
    pub(crate) needs_person: bool,
    pub(crate) helper: Option<HelperRow>,
}

/// What a helper is besides an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HelperRow {
    /// Principal of whoever spawned it.
    pub(crate) parent: String,
    pub(crate) tray: String,
    pub(crate) expires_at_us: u64,
    pub(crate) auto_retire: bool,
    /// Why it is gone.
    pub(crate) retired: Option<u8>,
}

/// How many helpers a principal has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HelpersRow {
    /// Those that are not retired.
    pub(crate) registered: u64,
    /// Those of them that need not exit.
    pub(crate) running: u64,
}

/// A request for approval. Numbers are those of control.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ApprovalRow {
    pub(crate) event_id: [u8; 16],
    pub(crate) effect: Vec<u8>,
    pub(crate) scope: String,
    pub(crate) stream: String,
    /// Digest of the name and arguments that are asked for.
    pub(crate) what: Vec<u8>,
    pub(crate) state: u8,
    pub(crate) mode: u8,
    pub(crate) reviewers: Vec<String>,
    /// Principals that voted, and how.
    pub(crate) votes: Vec<(String, bool)>,
    pub(crate) requester: String,
    pub(crate) requested_at_us: u64,
    pub(crate) expires_at_us: Option<u64>,
    pub(crate) lasts_us: Option<u64>,
    pub(crate) on_timeout: u8,
    pub(crate) escalate_to: String,
    /// Position of what decided it, and who did.
    pub(crate) decided: Option<u64>,
    pub(crate) decided_by: String,
    /// An attempt was made with it that may have been executed.
    pub(crate) is_spent: bool,
    /// Code and time of the last claim that was refused for it.
    pub(crate) refused: Option<(String, u64)>,
}

/// Orders for one addressee, oldest first.
pub(crate) type OrderRows = Vec<OrderRow>;

/// An order whose sender may give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OrderRow {
    pub(crate) position: u64,
    pub(crate) given_at_us: u64,
}

/// Code of a refusal, and when it was recorded last.
pub(crate) type Refusal = (String, u64);

/// A call that happens once, as it stands. Numbers are those of control.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct EffectRow {
    pub(crate) state: u8,
    pub(crate) kind: u8,
    pub(crate) class: u8,
    pub(crate) name: String,
    pub(crate) binding: Vec<u8>,
    pub(crate) attempt: u64,
    /// Position of the newest claim.
    pub(crate) fence: u64,
    pub(crate) stream: String,
    pub(crate) claimed_at_us: u64,
    pub(crate) lease: LeaseRow,
    /// Position of the event that ended the newest attempt.
    pub(crate) outcome: Option<u64>,
    pub(crate) outcome_at_us: u64,
    pub(crate) executed: Option<u8>,
    /// Keyed digest of the result.
    pub(crate) result: Option<Vec<u8>>,
    pub(crate) rejected: bool,
    pub(crate) fresh_for_us: Option<u64>,
    /// Codes of refusals, and when each was recorded last.
    pub(crate) refused: Vec<Refusal>,
    /// Attempts before a person released the call: the limit counts from there.
    pub(crate) released_attempts: u64,
    /// Taken over from another ledger, and nothing was done to it here: when the attempt began.
    pub(crate) migrated_since_us: Option<u64>,
    /// What else it is bound to, if it was taken over.
    pub(crate) key_binding: Option<Vec<u8>>,
    /// Positions of the reservations that the outcome of the newest attempt ends.
    pub(crate) reservations: Vec<u64>,
}

/// A task as it stands. Numbers are those of control.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TaskRow {
    pub(crate) state: u8,
    pub(crate) depth: u64,
    /// Which attempt, from 1.
    pub(crate) attempt: u64,
    /// Stream of its creation.
    pub(crate) stream: String,
    /// Position of its creation.
    pub(crate) created: u64,
    pub(crate) created_at_us: u64,
    /// Position of its newest move, or of its creation.
    pub(crate) moved: u64,
    pub(crate) moved_at_us: u64,
    /// Keyed digests.
    pub(crate) agent: Option<[u8; 16]>,
    pub(crate) task_type: Option<[u8; 16]>,
    pub(crate) parent: Option<[u8; 16]>,
    pub(crate) creator: Option<[u8; 16]>,
    /// Position of the newest claim.
    pub(crate) fence: Option<u64>,
    /// Who holds it, if somebody does.
    pub(crate) lease: Option<LeaseRow>,
    /// The agent that claimed it last, if it was one.
    pub(crate) claimed_as: Option<String>,
    /// The claim by which the newest move was made.
    pub(crate) moved_by: Option<u64>,
    /// How many tasks of its scope had been completed when it was completed last, itself included.
    pub(crate) completed: Option<u64>,
    /// It lies in a tray: only from there is it claimed.
    pub(crate) in_tray: bool,
    /// Whose budget it is in.
    pub(crate) budget: Option<OwnerKey>,
}

/// A tray as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TrayRow {
    pub(crate) scope: String,
    /// Position and time of its opening.
    pub(crate) opened: u64,
    pub(crate) opened_at_us: u64,
    /// Position of its closing.
    pub(crate) closed: Option<u64>,
    /// How many of its tasks are in each state, by its number.
    pub(crate) states: [u64; 7],
    /// How many can be claimed.
    pub(crate) ready: u64,
    pub(crate) dead: u64,
}

/// A task as it lies in a tray. Numbers are those of control.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TrayTaskRow {
    pub(crate) tray: String,
    pub(crate) state: u8,
    /// Position of its creation.
    pub(crate) created: u64,
    pub(crate) priority: u64,
    /// The tasks that come before it.
    pub(crate) depends_on: Vec<[u8; 16]>,
    /// Those of them that were not done yet, a bit each in their order from the lowest.
    pub(crate) waits_for: u64,
    /// How many tasks, ever, were told that it comes before them and not yet that it is done.
    pub(crate) dependents: u64,
    /// Who holds it, if somebody does.
    pub(crate) lease: Option<LeaseRow>,
    /// Position at which it was found to have failed too often.
    pub(crate) dead: Option<u64>,
    /// It was created anew, elsewhere.
    pub(crate) has_left: bool,
}

/// A task that waits for another one, in the life that began at this position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub(crate) struct DependentRow {
    pub(crate) task: [u8; 16],
    pub(crate) created: u64,
}

/// Who holds something, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LeaseRow {
    pub(crate) holder: String,
    /// The opening of the log in which alone it can be held.
    pub(crate) opening: Option<[u8; 16]>,
    /// Position of the claim or of its last renewal.
    pub(crate) since: u64,
    pub(crate) lease_us: u64,
    pub(crate) expires_at_us: u64,
}

/// Who may spend, and what was spent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OwnerRow {
    /// Position of `budget.opened`.
    pub(crate) opened: u64,
    pub(crate) opened_at_us: u64,
    /// Where its own events stand.
    pub(crate) stream: String,
    /// Owners above it.
    pub(crate) level: u8,
    pub(crate) parent: Option<OwnerKey>,
    pub(crate) limits: Vec<LimitRow>,
    /// Position of the event that set them.
    pub(crate) limits_at: u64,
    /// The day, week and month that the tallies are of.
    pub(crate) windows: [u64; 3],
    /// In the order of dimensions.
    pub(crate) counters: Vec<CounterRow>,
    /// Reservations that are not ended, those of owners below it among them.
    pub(crate) open: u64,
    /// Events that changed it.
    pub(crate) changes: u64,
}

/// An owner as it stood after an event.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum PastOwnerRow {
    /// All of it.
    Whole(OwnerRow),
    /// What is other than after the event before: nothing but its tallies.
    Tallies {
        windows: [u64; 3],
        open: u64,
        /// By place.
        counters: Vec<(u8, [TallyRow; 4])>,
    },
}

/// An owner: keyed digest of its name, and its scope.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct OwnerKey {
    pub(crate) digest: [u8; 16],
    pub(crate) scope: String,
}

/// A limit of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct LimitRow {
    pub(crate) window: u8,
    pub(crate) dimension: String,
    pub(crate) max: u64,
}

/// What was spent of one dimension: since the owner was opened, and in its day, week and month.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct CounterRow {
    pub(crate) dimension: String,
    pub(crate) tallies: [TallyRow; 4],
}

/// Sums in one window. Wider than an amount, so that none overflows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct TallyRow {
    pub(crate) spent: u128,
    pub(crate) reserved: u128,
    /// The limit that was warned of.
    pub(crate) warned: Option<u64>,
    /// When it was last recorded that the limit is exceeded.
    pub(crate) exceeded_at_us: Option<u64>,
}

/// What an owner was charged for a call of a model in one day, and is charged still.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ChargeRow {
    /// The day, week and month.
    pub(crate) windows: [u64; 3],
    pub(crate) amounts: Vec<(String, u64)>,
}

/// A reservation, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ReservationRow {
    pub(crate) owner: OwnerKey,
    pub(crate) stream: String,
    pub(crate) amounts: Vec<(String, u64)>,
    pub(crate) at_us: u64,
    /// The day, week and month in which it was made.
    pub(crate) windows: [u64; 3],
    /// None if it is made for a call, which ends it.
    pub(crate) lease: Option<LeaseRow>,
    /// The claim of that call.
    pub(crate) effect: Option<u64>,
    pub(crate) state: u8,
    /// What it cost.
    pub(crate) actual: Vec<(String, u64)>,
    /// Position of the event that ended it.
    pub(crate) outcome: Option<u64>,
}

/// The bytes of a row.
pub(crate) fn encode<T: Encode>(row: &T) -> Result<Vec<u8>, FoldError> {
    let mut bytes = Vec::with_capacity(USUAL);
    match bincode::encode_into_std_write(row, &mut bytes, CONFIG) {
        Ok(_) => Ok(bytes),
        Err(error) => Err(FoldError::Row(error.to_string())),
    }
}

/// The row that these bytes are, all of them.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, FoldError> {
    let (row, read) = bincode::decode_from_slice(bytes, CONFIG)
        .map_err(|error| FoldError::Row(error.to_string()))?;
    if read == bytes.len() {
        Ok(row)
    } else {
        Err(FoldError::Row(format!(
            "{} bytes follow the row",
            bytes.len() - read
        )))
    }
}

/// A number that sorts the other way round: the newest row up to a point is the first from there.
pub(crate) fn back(number: u64) -> [u8; 8] {
    (u64::MAX - number).to_be_bytes()
}

/// The row under a key.
pub(crate) fn get<T: Decode<()>>(rows: &mut dyn Rows, key: &[u8]) -> Result<Option<T>, FoldError> {
    rows.get(key)?.map(|row| decode(&row)).transpose()
}

/// Sets the row under a key.
pub(crate) fn put<T: Encode>(rows: &mut dyn Rows, key: &[u8], row: &T) -> Result<(), FoldError> {
    rows.put(key, encode(row)?);
    Ok(())
}

/// The row under a key that was [put typed](put_typed), or its bytes.
pub(crate) fn get_typed<T: TypedRow + Decode<()> + Clone>(
    rows: &mut dyn Rows,
    key: &[u8],
) -> Result<Option<T>, FoldError> {
    rows.value(key)?.as_ref().map(typed).transpose()
}

/// What a row is.
pub(crate) fn typed<T: TypedRow + Decode<()> + Clone>(value: &RowValue) -> Result<T, FoldError> {
    match value.downcast_ref::<T>() {
        Some(row) => Ok(row.clone()),
        None => decode(&value.bytes()?),
    }
}

/// Sets the row under a key, to be encoded when it is written.
pub(crate) fn put_typed(
    rows: &mut dyn Rows,
    key: &[u8],
    row: impl TypedRow,
) -> Result<(), FoldError> {
    rows.put_row(key, Arc::new(row))
}

/// Sets a row that says something, and removes one that says nothing.
pub(crate) fn put_or_remove<T: Encode + Default + PartialEq>(
    rows: &mut dyn Rows,
    key: &[u8],
    row: &T,
) -> Result<(), FoldError> {
    if *row == T::default() {
        rows.remove(key);
        return Ok(());
    }
    put(rows, key, row)
}

/// Adds one to a count, or takes one away; none is no row.
pub(crate) fn count(rows: &mut dyn Rows, key: &[u8], is_more: bool) -> Result<(), FoldError> {
    let count: u64 = get(rows, key)?.unwrap_or(0);
    let count = if is_more {
        count.saturating_add(1)
    } else {
        count.saturating_sub(1)
    };
    put_or_remove(rows, key, &count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run() -> RunRow {
        let usage = UsageSum {
            input_tokens: u128::MAX,
            usd_micros: 7,
            ..UsageSum::default()
        };
        let finished = FinishedRow {
            position: 9,
            recorded_at_us: 10,
            occurred_at_us: None,
            status: Some("success".to_owned()),
        };
        RunRow {
            scope: "default".to_owned(),
            imported: true,
            started: Some(1),
            parent: None,
            forked: Some(("run-0".to_owned(), 3)),
            finished: Some(finished),
            fence: 1,
            lease: None,
            claimed_as: Some("bot".to_owned()),
            budget: None,
            paused: false,
            let_go: Some("aborted".to_owned()),
            events: 300,
            steps: 2,
            nodes: 1,
            steps_blocked: 2,
            pauses: 3,
            refusals: 4,
            verdicts: 5,
            turns: 3,
            tool_calls: 4,
            tool_results: 5,
            tool_errors: 6,
            llm_calls: 7,
            usage,
            llm_reports: 8,
            own: StepSum {
                tokens: u128::MAX,
                usd_micros: 1,
            },
            gco2_mg: 9,
            first_recorded_at_us: 8,
            last_recorded_at_us: 9,
            occurred_us: Some((1, 2)),
            last: 10,
        }
    }

    #[test]
    fn a_row_comes_back_and_nothing_may_follow_it() {
        let mut bytes = encode(&run()).unwrap();
        assert_eq!(decode::<RunRow>(&bytes).unwrap(), run());
        bytes.push(0);
        assert!(matches!(decode::<RunRow>(&bytes), Err(FoldError::Row(_))));
    }

    #[test]
    fn the_encoding_of_this_version_of_the_folds() {
        let usage = UsageRow {
            input_tokens: 1,
            output_tokens: 251,
            ..UsageRow::default()
        };
        assert_eq!(encode(&usage).unwrap(), [1, 251, 251, 0, 0, 0, 0]);
    }

    #[test]
    fn a_length_without_bytes_behind_it_claims_no_memory() {
        let mut bytes = vec![253];
        bytes.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<RunRow>(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(row) = decode::<RunRow>(&bytes) {
                prop_assert_eq!(decode::<RunRow>(&encode(&row).unwrap()).unwrap(), row);
            }
        }
    }
}
