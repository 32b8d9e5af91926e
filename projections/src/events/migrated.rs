//! Calls that another ledger guarded, taken over with their keys.

use runstone_codec::{Control, Draft, Keyed, NewEvent};

use super::control::effect as field;
use super::effect_key::{args_digest, bound_to, keyed_as};
use super::words::{Class, Executed, Kind};

/// A call of another ledger. Its key is one of the whole scope, as
/// `effects::KeySource::Request` is; a claim of that key finds it.
///
/// Other ledgers bind a key to nothing, or to less. A call whose arguments are known by name is
/// bound to them: a claim with other arguments is refused as another call. One whose arguments are
/// not known by name is found only by a claim that is bound to the key alone. Such a claim finds
/// either, if it is of the same name.
#[derive(Debug, Clone, Copy)]
#[expect(
    clippy::exhaustive_structs,
    reason = "written out by whoever takes over a ledger"
)]
pub struct MigratedEffect<'a> {
    /// Of a tool or of a task.
    pub kind: Kind,
    /// What was called.
    pub name: &'a str,
    /// The key, as text.
    pub key: &'a str,
    /// The arguments as JSON, if they are known by name.
    pub args: Option<&'a [u8]>,
    /// Who made it: a pseudonym.
    pub holder: &'a str,
    /// When the attempt began, Unix microseconds: of two reports of one call the later one counts.
    pub since_us: u64,
}

impl MigratedEffect<'_> {
    /// The claim, of which nobody knows better than that it was a write.
    pub fn claimed(&self, event: NewEvent) -> Draft {
        let args = self.args.and_then(|args| args_digest(Some(args)));
        let control = self
            .control()
            .u64(field::KIND, self.kind.number())
            .u64(field::CLASS, Class::Write.number())
            .u64(field::ATTEMPT, 1)
            .text(field::NAME, self.name)
            .text(field::HOLDER, self.holder);
        self.keyed(Draft::new(event).control(control))
            .keyed(bound_to(field::BINDING, self.name, args.as_ref()))
            .keyed(bound_to(field::KEY_BINDING, self.name, None))
    }

    /// It was made and answered this JSON.
    pub fn completed(&self, event: NewEvent, result: &[u8]) -> Draft {
        self.keyed(Draft::new(event).control(self.control()))
            .keyed(Keyed::control(field::RESULT, field::RESULT_LABEL, [result]))
    }

    /// It failed.
    pub fn failed(&self, event: NewEvent, executed: Executed) -> Draft {
        let control = self.control().u64(field::EXECUTED, executed.number());
        self.keyed(Draft::new(event).control(control))
    }

    /// Nobody can say what became of it, for the reason of this code.
    pub fn unknown(&self, event: NewEvent, why: &str) -> Draft {
        let control = self.control().text(field::WHY, why);
        self.keyed(Draft::new(event).control(control))
    }

    fn control(&self) -> Control {
        Control::new()
            .u64(field::MIGRATED, 1)
            .u64(field::MIGRATED_SINCE_US, self.since_us)
    }

    fn keyed(&self, draft: Draft) -> Draft {
        let [tag, digest] = keyed_as(self.kind, "scope", self.key);
        draft.keyed(tag).keyed(digest)
    }
}
