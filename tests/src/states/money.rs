//! What owners may spend and spent, told anew: every single amount is kept and summed when asked.

use super::{content, tag_of};
use runstone_codec::Control;
use runstone_projections::events::control::{self, budget};
use runstone_store::Record;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const DAY_US: u64 = 86_400_000_000;

#[derive(Debug)]
struct Owner {
    opened: u64,
    opened_at_us: u64,
    parent: Option<String>,
    level: u64,
    /// By `WINDOW.DIMENSION`.
    limits: Value,
    limits_at: u64,
    spent: Vec<Spent>,
}

#[derive(Clone, Debug)]
struct Spent {
    at_us: u64,
    amounts: BTreeMap<String, u64>,
    /// Of a model, which is reported again and again.
    call: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Reservation {
    owner: String,
    amounts: BTreeMap<String, u64>,
    is_open: bool,
    is_expired: bool,
}

#[derive(Debug, Default)]
pub(super) struct Purse {
    /// By tag.
    owners: BTreeMap<String, Owner>,
    reservations: BTreeMap<u64, Reservation>,
    /// The newest report of a model's call in each stream.
    reports: BTreeMap<String, BTreeMap<String, u64>>,
}

fn amounts(record: &Record) -> BTreeMap<String, u64> {
    let said = content(record).and_then(|said| said.get("amounts").cloned());
    serde_json::from_value(said.unwrap_or_else(|| json!({}))).unwrap()
}

fn parent(facts: &Control) -> Option<String> {
    let digest = facts.get_bytes(budget::PARENT)?;
    let digits = digest.iter().map(|byte| format!("{byte:02x}"));
    Some(format!(
        "{}:{}",
        budget::OWNER_LABEL,
        digits.collect::<String>()
    ))
}

impl Purse {
    pub(super) fn take(&mut self, record: &Record, imported: bool) {
        let (facts, position) = (&record.control, record.position.get());
        let at_us = record.recorded_at_us;
        let kind = &*record.header.event_type;
        if imported || !(kind.starts_with("budget.") || kind == "llm.call.completed") {
            return;
        }
        if kind == "llm.call.completed" {
            let amount = |field| facts.get_u64(field).unwrap_or(0);
            let tokens = amount(control::INPUT_TOKENS)
                + amount(control::OUTPUT_TOKENS)
                + amount(control::CACHE_READ_TOKENS)
                + amount(control::CACHE_WRITE_TOKENS);
            let said = [
                ("tokens".to_owned(), tokens),
                ("usd_micros".to_owned(), amount(control::USD_MICROS)),
            ];
            self.reports
                .insert(record.header.stream.to_string(), said.into());
            return;
        }
        let owner = tag_of(record, budget::OWNER_LABEL).unwrap();
        match kind {
            "budget.opened" if !self.owners.contains_key(&owner) => {
                let parent = parent(facts);
                let above = parent.as_ref().and_then(|parent| self.owners.get(parent));
                let level = above.map_or(0, |above| above.level + 1);
                let one = Owner {
                    opened: position,
                    opened_at_us: at_us,
                    parent,
                    level,
                    limits: content(record).unwrap()["limits"].clone(),
                    limits_at: position,
                    spent: Vec::new(),
                };
                self.owners.insert(owner, one);
            }
            "budget.changed" => {
                let one = self.owners.get_mut(&owner).unwrap();
                one.limits = content(record).unwrap()["limits"].clone();
                one.limits_at = position;
            }
            "budget.reserved" => {
                let amounts = amounts(record);
                let reservation = Reservation {
                    owner,
                    amounts,
                    is_open: true,
                    is_expired: false,
                };
                self.reservations.insert(position, reservation);
            }
            "budget.settled" | "budget.released" => {
                let fence = facts.get_u64(budget::RESERVATION).unwrap();
                let known = self.reservations.get_mut(&fence).unwrap();
                let is_settled = kind == "budget.settled";
                let may = known.is_open || (known.is_expired && is_settled);
                known.is_expired = facts.get_text(budget::WHY) == Some("lease_over");
                known.is_open = false;
                let owner = known.owner.clone();
                if is_settled && may {
                    self.spend(&owner, at_us, (amounts(record), None));
                }
            }
            "budget.charged" => {
                let call = facts.get_bytes(budget::CALL).map(<[u8]>::to_vec);
                let amounts = match &call {
                    // All that it used, whatever was charged for it before.
                    Some(_) => self.reports[record.header.stream.as_str()].clone(),
                    None => amounts(record),
                };
                self.spend(&owner, at_us, (amounts, call));
            }
            _ => {}
        }
    }

    fn spend(
        &mut self,
        owner: &str,
        at_us: u64,
        (amounts, call): (BTreeMap<String, u64>, Option<Vec<u8>>),
    ) {
        for owner in self.chain(owner) {
            let spent = &mut self.owners.get_mut(&owner).unwrap().spent;
            spent.retain(|one| call.is_none() || one.call != call);
            spent.push(Spent {
                at_us,
                amounts: amounts.clone(),
                call: call.clone(),
            });
        }
    }

    /// An owner and those above it.
    fn chain(&self, owner: &str) -> Vec<String> {
        let (mut chain, mut next) = (Vec::new(), Some(owner.to_owned()));
        while let Some((tag, one)) =
            next.and_then(|tag| Some((tag.clone(), self.owners.get(&tag)?)))
        {
            chain.push(tag);
            next = one.parent.clone();
        }
        chain
    }

    /// How these owners and those above them stand.
    pub(super) fn of(&self, named: &[String], now_us: u64) -> Value {
        let named = named.iter().flat_map(|owner| self.chain(owner));
        let named: std::collections::BTreeSet<_> = named.collect();
        let mut all: Vec<_> = named.iter().map(|tag| self.told(tag, now_us)).collect();
        all.sort_by_key(|owner| owner["opened"].as_u64());
        all.into()
    }

    fn told(&self, tag: &str, now_us: u64) -> Value {
        let owner = &self.owners[tag];
        let open = self.reservations.values();
        let open =
            open.filter(|one| one.is_open && self.chain(&one.owner).contains(&tag.to_owned()));
        let open: Vec<_> = open.map(|one| &one.amounts).collect();
        let spent = owner.spent.iter().map(|spent| &spent.amounts);
        let is_exceeded = owner
            .limits
            .as_object()
            .unwrap()
            .iter()
            .any(|(limit, max)| {
                let (window, dimension) = limit.rsplit_once('.').unwrap_or(("all", limit));
                let is_now = |one: &&Spent| match window {
                    "day" => one.at_us / DAY_US == now_us / DAY_US,
                    _ => true,
                };
                let spent = owner.spent.iter().filter(is_now);
                let spent = spent.filter_map(|one| one.amounts.get(dimension));
                spent.sum::<u64>() > max.as_u64().unwrap()
            });
        let elapsed_us = now_us - owner.opened_at_us;
        let (whole, rest) = (elapsed_us / 1_000_000, elapsed_us % 1_000_000);
        let is_up = rest > 500_000 || (rest == 500_000 && whole % 2 == 1);
        json!({
            "owner": tag, "opened": owner.opened, "level": owner.level, "parent": owner.parent,
            "limits_at": owner.limits_at, "spent": sum(spent),
            "reserved": sum(open.iter().copied()), "open": open.len(),
            "is_exceeded": is_exceeded, "elapsed_s": whole + u64::from(is_up),
        })
    }
}

fn sum<'a>(all: impl Iterator<Item = &'a BTreeMap<String, u64>>) -> Map<String, Value> {
    let mut sums = BTreeMap::<&str, u64>::new();
    for (dimension, amount) in all.flatten() {
        *sums.entry(dimension).or_default() += amount;
    }
    let sums = sums.into_iter().filter(|(_, sum)| *sum > 0);
    sums.map(|(name, sum)| (name.to_owned(), json!(sum)))
        .collect()
}
