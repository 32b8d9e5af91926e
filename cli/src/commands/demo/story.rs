//! The story: what is shown, why it matters, and what must come of it.

use super::agent::{INVOICES, NAME, RUN};
use super::audit;
use super::gateway::{BOOK, Gateway, Life, live};
use super::stage::{LOG, Stage};
use crate::error::{Exit, Failure, Report};
use serde_json::Value;

/// The run that goes on from a point of the other one.
const FORK: &str = "what-if";
/// The invoice after whose charge the agent is killed.
const KILLED_AT: &str = "inv-3";
/// The invoice that does not fit into the budget.
const TOO_MUCH: &str = "inv-4";
/// The invoice that a person must approve.
const LARGE: &str = "inv-5";

/// Plays all of it.
pub(super) fn play(stage: Stage, gateway: Gateway) -> Result<Exit, Failure> {
    let mut story = Story {
        stage,
        gateway,
        cut_off_at: None,
    };
    story.begins()?;
    story.is_killed()?;
    story.goes_on()?;
    story.is_decided_by_a_person()?;
    story.is_looked_at()?;
    story.is_proved()?;
    story.is_tampered_with()?;
    story.is_forgotten()?;
    story.stage.end()
}

struct Story {
    stage: Stage,
    gateway: Gateway,
    /// Position of the claim during which the agent was killed.
    cut_off_at: Option<u64>,
}

impl Story {
    fn begins(&mut self) -> Result<(), Failure> {
        let stage = &mut self.stage;
        let place = stage.folder().display().to_string();
        stage.tell("Runstone is a log that an agent runtime embeds. This is what it is good for: an agent pays five invoices, and much goes wrong.")?;
        stage.tell(&format!("It is played in {place}."))?;
        stage.step(
            "A log, and a person who may decide",
            "Everything stands in one encrypted file. What an agent may not decide by itself takes the credential of a person, so one is enrolled. The agent may spend 100 dollars.",
        )?;
        stage.run("runstone init --origin demo --human ada", 0)?;
        stage.run(&format!("runstone budget open {NAME} --limit usd=100"), 0)?;
        Ok(())
    }

    fn is_killed(&mut self) -> Result<(), Failure> {
        self.stage.step(
            "The agent is killed at the worst moment",
            "The agent is another process. Its gateway charges whatever it is asked to, twice if it is asked twice, and keeps its own book. At inv-3 the agent is killed (SIGKILL) after the gateway charged and before it answered.",
        )?;
        let life = self.live(RUN, Some(KILLED_AT))?;
        let stage = &mut self.stage;
        let (process, status) = (life.process, life.status);
        stage.promise(
            "the agent was really killed",
            life.is_killed(),
            format!("process {process}, {status}"),
        )?;
        stage.run(&format!("cat {BOOK}"), 0)?;
        stage.run("runstone orphans", 0)?;
        stage.tell("The claim was durable before the gateway was called. So the log knows what was begun and never ended, and nobody pays inv-3 again on a guess.")?;
        let charged = self.charged(KILLED_AT)?;
        let stage = &mut self.stage;
        stage.promise(
            format!("the gateway charged {KILLED_AT}, and the agent never heard of it"),
            charged == 1,
            format!("charged {}", times(charged)),
        )?;
        let doubtful = stage.look("effect list --status expired")?;
        let keys: Vec<&str> = doubtful
            .iter()
            .map(|one| at(one, "/key"))
            .filter_map(Value::as_str)
            .collect();
        let found = keys.join(", ");
        stage.promise(
            "exactly that call is listed as begun and not ended",
            keys.len() == 1 && found.ends_with(KILLED_AT),
            found,
        )?;
        self.cut_off_at = doubtful.first().and_then(|one| at(one, "/fence").as_u64());
        Ok(())
    }

    fn goes_on(&mut self) -> Result<(), Failure> {
        self.stage.step(
            "It goes on, and pays nothing twice",
            "The same program is started again. What was paid is answered from the log. The one call in doubt is settled by asking the gateway. inv-4 does not fit into the budget, and is refused before anything leaves the house.",
        )?;
        let life = self.live(RUN, None)?;
        let [killed_at, too_much] = [self.charged(KILLED_AT)?, self.charged(TOO_MUCH)?];
        let stage = &mut self.stage;
        stage.run(&format!("cat {BOOK}"), 0)?;
        stage.run("runstone budget list", 0)?;
        stage.promise(
            format!("{KILLED_AT} was charged once, after the gateway was asked once"),
            killed_at == 1 && life.asked == 1,
            format!("charged {}, asked {}", times(killed_at), times(life.asked)),
        )?;
        stage.promise(
            format!("the gateway was never asked to charge {TOO_MUCH}"),
            too_much == 0,
            format!("charged {}", times(too_much)),
        )?;
        Ok(())
    }

    fn is_decided_by_a_person(&mut self) -> Result<(), Failure> {
        self.stage.step(
            "A person decides",
            "Raising a limit takes a person: holding the keys of the log is not enough, and nothing that an agent writes makes it one. inv-5 is so large that the agent asks first. Nothing waits in memory meanwhile; the question is in the log.",
        )?;
        let raise = format!("runstone budget open {NAME} --limit usd=1000");
        self.stage.run(&raise, 8)?;
        self.stage.run(&format!("{raise} --cred ada.cred"), 0)?;
        self.live(RUN, None)?;
        self.stage.run("runstone approval list", 0)?;
        let before = self.charged(LARGE)?;
        let request = position(&self.stage, "approval list")?;
        self.stage.run(
            &format!("runstone approval approve {request} --cred ada.cred --comment agreed"),
            0,
        )?;
        self.live(RUN, None)?;
        self.stage.run("runstone runs", 0)?;
        let after = self.charged(LARGE)?;
        self.stage.promise(
            format!("{LARGE} was charged once, and not before it was approved"),
            (before, after) == (0, 1),
            format!("{} before, {} in all", times(before), times(after)),
        )?;
        self.is_paid_once()
    }

    /// The sum of it all: what left the house, and what the log says of it.
    fn is_paid_once(&mut self) -> Result<(), Failure> {
        let charges = self.charges()?;
        let is_once = |invoice: &&str| charges.iter().filter(|(of, _)| of == *invoice).count() == 1;
        let once = INVOICES.iter().map(|one| one.id).filter(|one| is_once(one));
        let once = once.count();
        let stage = &mut self.stage;
        stage.promise(
            "each invoice was charged exactly once",
            once == INVOICES.len() && charges.len() == once,
            format!(
                "{} charges, {once} of {} once",
                charges.len(),
                INVOICES.len()
            ),
        )?;
        let sum: u64 = charges.iter().map(|(_, usd)| usd).sum();
        let spent = stage.first("budget list", "/spent/usd_micros")?;
        let spent = spent.as_u64().unwrap_or_default();
        stage.promise(
            "the budget in the log says what the gateway charged",
            spent == sum * 1_000_000,
            format!("${sum} and ${}", spent / 1_000_000),
        )
    }

    fn is_looked_at(&mut self) -> Result<(), Failure> {
        let cut_off_at = self.cut_off_at.ok_or_else(|| lost("the claim of inv-3"))?;
        let stage = &mut self.stage;
        stage.step(
            "Look at any point of it",
            "All state is folded from events, so it can be told as of any of them, compared, and gone on from in a fork. This is the session of the agent as it stood when it was killed; then a fork from where it did not fit into the budget.",
        )?;
        stage.run(
            &format!("runstone state {RUN} --at {cut_off_at} | tail -n 6"),
            0,
        )?;
        let paid = stage.first(&format!("state {RUN} --at {cut_off_at}"), "/session/paid")?;
        let refused = position(stage, &format!("log --stream {RUN} --type run.paused"))?;
        stage.run(
            &format!("runstone fork {RUN} --at {refused} --as-stream {FORK}"),
            0,
        )?;
        stage.run(&format!("runstone diff {RUN} {FORK} | head -n 1"), 0)?;
        stage.promise(
            "its state at the kill is what had been done by then",
            paid == serde_json::json!(["inv-1", "inv-2"]),
            format!("paid {paid}"),
        )?;
        stage.tell("The agent goes on in the fork. Whatever it pays there was paid:")?;
        let before = self.charges()?.len();
        self.live(FORK, None)?;
        let after = self.charges()?.len();
        self.stage.promise(
            "in the fork, nothing is paid again",
            before == after,
            format!("{before} charges before, {after} after"),
        )
    }

    fn is_proved(&mut self) -> Result<(), Failure> {
        let stage = &mut self.stage;
        let decided = position(
            stage,
            &format!("log --stream {RUN} --type approval.decided"),
        )?;
        stage.step(
            "Prove one event to a stranger",
            "A receipt proves that an event stands in the log: here, that a person approved 600 dollars. An auditor checks it with that file and a policy that says whom to trust; there is no log, no key and no network where he works.",
        )?;
        stage.run("mkdir auditor && runstone policy > auditor/policy", 0)?;
        let receipt = format!("auditor/{decided}.tlog-proof");
        stage.run(&format!("runstone receipt {decided} -o {receipt}"), 0)?;
        let verify = format!("runstone receipt verify {decided}.tlog-proof --policy policy");
        stage.run(&format!("cd auditor; {verify}"), 0)?;
        stage.tell("One that claims something else is refused, here another position:")?;
        let forge = format!("sed 's/^index {decided}/index 7/' {decided}.tlog-proof > forged");
        stage.run(&format!("cd auditor; {forge}"), 0)?;
        stage.run(
            "cd auditor; runstone receipt verify forged --policy policy",
            4,
        )?;
        let folder = stage.folder().join("auditor");
        let by_crate = audit::verified(
            &folder.join("policy"),
            &folder.join(format!("{decided}.tlog-proof")),
        );
        stage.promise(
            "the crate runstone-receipt alone accepts the receipt",
            by_crate
                .as_deref()
                .is_ok_and(|who| who == "approval.decided by human:ada"),
            by_crate.unwrap_or_else(|why| why),
        )?;
        let by_crate = audit::verified(&folder.join("policy"), &folder.join("forged"));
        stage.promise(
            "and refuses the forged one",
            by_crate.is_err(),
            by_crate.unwrap_or_else(|why| why),
        )
    }

    fn is_tampered_with(&mut self) -> Result<(), Failure> {
        let stage = &mut self.stage;
        stage.step(
            "Somebody alters a copy",
            "Every event is a leaf of a Merkle tree whose root is signed. In a copy of the file the approval is made to look as if it had expired.",
        )?;
        stage.run("runstone verify", 0)?;
        stage.run("mkdir altered && cp -r demo.redb* altered", 0)?;
        let alter = "LC_ALL=C sed 's/approval.decided/approval.expired/g'";
        stage.run(&format!("{alter} demo.redb > altered/demo.redb"), 0)?;
        stage.run("runstone --log altered/demo.redb verify", 4)?;
        let decided = position(
            stage,
            &format!("log --stream {RUN} --type approval.decided"),
        )?;
        let problems = stage.first("--log altered/demo.redb verify", "/problems")?;
        let mut problems = problems.as_array().into_iter().flatten();
        let named = problems.any(|problem| *at(problem, "/position") == decided);
        stage.promise(
            "the altered event is named",
            named,
            format!("position {decided}"),
        )?;
        stage.tell("Whoever has the signing key can still write another history. That shows against a checkpoint that somebody else kept: runstone checkpoint prints one.")
    }

    fn is_forgotten(&mut self) -> Result<(), Failure> {
        let stage = &mut self.stage;
        stage.step(
            "A person is forgotten, and the log still verifies",
            "What one person said is sealed under a key of its own, its scope. Erasing destroys that key, in backups too; the proof that something was said stays, without what it was.",
        )?;
        let said = r#"{"from":"Mara Lind","text":"my new number is 555-0134"}"#;
        let append = "runstone append --type support.note --stream ticket-7 --scope person-7";
        stage.run(&format!("{append} --data '{said}'"), 0)?;
        let note = position(stage, "log --stream ticket-7")?;
        stage.run(&format!("runstone receipt {note} -o auditor"), 0)?;
        stage.run("runstone log --stream ticket-7", 0)?;
        stage.run(
            "runstone erase person-7 --basis gdpr-17-1-b --yes -o auditor",
            0,
        )?;
        stage.run("runstone log --stream ticket-7", 0)?;
        stage.run("runstone verify", 0)?;
        let left = stage.first("log --stream ticket-7", "")?;
        let is_erased = *at(&left, "/erased") == true && at(&left, "/data").is_null();
        stage.promise("nobody can read it any more", is_erased, "erased")?;
        let report = stage.first("verify", "")?;
        let [valid, events, erased] =
            ["/valid", "/events", "/erased"].map(|path| at(&report, path));
        stage.promise(
            "the log is whole all the same",
            *valid == true && *erased == 1,
            format!("{events} events, {erased} erased"),
        )?;
        let folder = stage.folder().join("auditor");
        let told = audit::verified(
            &folder.join("policy"),
            &folder.join(format!("{note}.tlog-proof")),
        );
        stage.promise(
            "a receipt from before the erasure still verifies",
            told.is_ok(),
            told.unwrap_or_else(|why| why),
        )
    }

    /// A life of the agent.
    fn live(&mut self, run: &str, killed_at: Option<&str>) -> Result<Life, Failure> {
        let command = self.stage.agent(run);
        let stage = &mut self.stage;
        live(command, &mut self.gateway, killed_at, |text| {
            stage.hear(text)
        })
    }

    /// How often the gateway charged an invoice.
    fn charged(&self, invoice: &str) -> Result<usize, Failure> {
        let charges = self.charges()?;
        Ok(charges.iter().filter(|(of, _)| of == invoice).count())
    }

    /// What the gateway charged, as its book has it.
    fn charges(&self) -> Result<Vec<(String, u64)>, Failure> {
        self.gateway.charges().map_err(|error| {
            Report::new(Exit::Storage, "storage_io", format!("{BOOK}: {error}")).into()
        })
    }
}

fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        number => format!("{number} times"),
    }
}

/// Where the first one stands that is listed so.
fn position(stage: &Stage, words: &str) -> Result<u64, Failure> {
    let position = stage.first(words, "/position")?;
    position.as_u64().ok_or_else(|| lost(words))
}

/// What stands there (RFC 6901), or null.
fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    value.pointer(path).unwrap_or(&Value::Null)
}

fn lost(what: &str) -> Failure {
    let message = format!("{what} is not in the log {LOG}");
    Report::new(Exit::No, "demo_failed", message).into()
}
