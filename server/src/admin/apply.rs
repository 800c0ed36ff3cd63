//! Many resources at once: what would change, what transactions that takes, and doing it.

use std::collections::{HashMap, HashSet};

use alts_proto::altsd::{
    ApplyPolicyRequest, ApplyPolicyResponse,
    apply_policy_response::{Change, change::Kind},
};
use alts_store::{Error as StoreError, Expected, MAX_TRANSACTION, MAX_WRITES, Revision, Write};
use tonic::{Code, Status};

use super::{
    access::Operator,
    decisions::Decided,
    managed::Managed,
    refusal::{by_store, conflict, invalid, refuse},
    shelf::{PATIENCE, Row, Shelf, list_unknown, number},
};
use crate::policy::{Action, Entry, Name, PeerList, Rule, TargetName};

/// What becomes of one resource.
struct Planned {
    change: Change,
    /// None if it is the same already.
    write: Option<Write>,
}

/// Creates and replaces what `request` names.
pub(super) async fn apply(
    shelf: &Shelf,
    by: &Operator,
    request: ApplyPolicyRequest,
) -> Result<ApplyPolicyResponse, Status> {
    let ApplyPolicyRequest { peer_lists, rules, target_names, validate_only, in_parts } = request;
    let store = shelf.store()?;
    let decided = shelf.decisions().current();
    let lists = parsed::<PeerList>(peer_lists)?;
    let rules = parsed::<Rule>(rules)?;
    let targets = parsed::<TargetName>(target_names)?;

    let stored_lists = shelf.rows::<PeerList>(&decided).await?;
    let known = lists.iter().map(PeerList::name).chain(stored_lists.iter().map(|row| &row.key)).collect();
    know_lists(&rules, &known)?;
    let mut planned = plan(shelf, &decided, lists, stored_lists)?;
    let actions: Vec<_> = rules.iter().map(Rule::action).collect();
    let of_rules = plan(shelf, &decided, rules, shelf.rows(&decided).await?)?;
    let mut of_targets = plan(shelf, &decided, targets, shelf.rows(&decided).await?)?;
    let mut changes: Vec<_> =
        [&planned, &of_rules, &of_targets].into_iter().flatten().map(|one| one.change.clone()).collect();
    // In this order, so that no rule is there before its lists, and nobody is let in whom another rule denies.
    planned.append(&mut of_targets);
    planned.append(&mut denials_first(actions, of_rules));
    let transactions = split(planned.into_iter().filter_map(|planned| planned.write));
    let count = transactions.len();

    let answer = |changes: Vec<Change>, revision: Revision, applied| ApplyPolicyResponse {
        changes,
        revision: number(revision),
        applied,
        transactions: i32::try_from(count).unwrap_or(i32::MAX),
    };
    if validate_only || count == 0 {
        return Ok(answer(std::mem::take(&mut changes), Revision(0), !validate_only));
    }
    if count > 1 && !in_parts {
        return Err(too_large(&transactions));
    }
    let mut revision = Revision(0);
    for (done, writes) in transactions.into_iter().enumerate() {
        let keys: Vec<_> = writes.iter().map(|write| write.key.clone()).collect();
        match store.transact(writes).await {
            Ok(at) => revision = at,
            Err(error) => return Err(half_done(&error, done, count)),
        }
        keys.iter().for_each(|key| by.did("put", key, revision));
    }
    let applied = shelf.decisions().applied(revision, PATIENCE).await;
    Ok(answer(changes, revision, applied))
}

/// The resources of a request, each of its name once.
fn parsed<T: Managed>(messages: Vec<T::Message>) -> Result<Vec<T>, Status> {
    let mut seen = HashSet::new();
    let mut values = Vec::with_capacity(messages.len());
    for message in messages {
        let key = T::key_of(T::seen(&message).0)?;
        let name = T::name(&key);
        let record = T::requested(message, &key)?;
        let value = T::from_record(record).map_err(|refused| {
            let status = invalid(&refused);
            let text = status.message().split_once(": ").map_or("", |(_, text)| text);
            refuse(status.code(), refused.problem.code(), &format!("{name}: {text}"))
        })?;
        if !seen.insert(name) {
            let text = format!("{} {key} is in the request twice", T::WORD);
            return Err(refuse(Code::InvalidArgument, "name_twice", &text));
        }
        values.push(value);
    }
    Ok(values)
}

fn know_lists(rules: &[Rule], known: &HashSet<&Name>) -> Result<(), Status> {
    let mut named = rules.iter().flat_map(Rule::peer_lists);
    named.find(|list| !known.contains(list)).map_or(Ok(()), |list| Err(list_unknown(list)))
}

fn plan<T: Managed>(
    shelf: &Shelf,
    decided: &Decided,
    values: Vec<T>,
    rows: Vec<Row<T>>,
) -> Result<Vec<Planned>, Status> {
    let stored = rows.into_iter().filter_map(|row| Some((row.key, (row.entry, row.revision?))));
    let stored: HashMap<String, _> = stored.map(|(key, held)| (key.to_string(), held)).collect();
    let one = |value: T| {
        let key = value.key();
        let held = stored.get(&key.to_string());
        let (kind, expected) = match held {
            None => (Kind::Created, Expected::Absent),
            Some((Entry::Good(before), _)) if **before == value => (Kind::Unchanged, Expected::Anything),
            Some((_, revision)) => (Kind::Updated, Expected::At(*revision)),
        };
        let write = match kind {
            Kind::Unchanged => None,
            _ => {
                let write = T::KIND.put(&key.to_string(), &value.to_record(), expected);
                Some(write.map_err(|error| by_store(&error))?)
            }
        };
        let in_file = T::of(&decided.files).contains_key(key);
        let overrides_file = if in_file { shelf.file_of::<T>(key) } else { String::new() };
        Ok(Planned { change: Change { name: T::name(key), kind: kind.into(), overrides_file }, write })
    };
    values.into_iter().map(one).collect()
}

/// What goes with the rules that deny, then what goes with those that allow, each in its order.
fn denials_first<T>(actions: Vec<Action>, items: Vec<T>) -> Vec<T> {
    let (mut first, then): (Vec<_>, Vec<_>) =
        actions.into_iter().zip(items).partition(|(action, _)| *action == Action::Deny);
    first.extend(then);
    first.into_iter().map(|(_, item)| item).collect()
}

/// Writes in their order, each part as large as a transaction may be.
fn split(writes: impl Iterator<Item = Write>) -> Vec<Vec<Write>> {
    let mut parts: Vec<Vec<Write>> = Vec::new();
    let mut bytes = 0;
    for write in writes {
        let size = size(&write);
        match parts.last_mut().filter(|part| part.len() < MAX_WRITES && bytes + size <= MAX_TRANSACTION) {
            Some(part) => {
                part.push(write);
                bytes += size;
            }
            None => {
                parts.push(vec![write]);
                bytes = size;
            }
        }
    }
    parts
}

fn size(write: &Write) -> usize {
    write.key.len() + write.value.as_ref().map_or(0, |value| value.len())
}

fn too_large(transactions: &[Vec<Write>]) -> Status {
    let writes = transactions.iter().flatten();
    let (count, bytes) = writes.fold((0, 0), |(count, bytes), write| (count + 1, bytes + size(write)));
    let text = format!(
        "{count} resources with {bytes} bytes would change, and one transaction of the store holds {MAX_WRITES} with \
         {MAX_TRANSACTION}; apply fewer at once, or allow {} transactions (--in-parts)",
        transactions.len()
    );
    refuse(Code::FailedPrecondition, "too_large_for_one_transaction", &text)
}

/// Why it stops, and what is done all the same.
fn half_done(error: &StoreError, done: usize, all: usize) -> Status {
    if done == 0 {
        return by_store(error);
    }
    let text = format!("{error}; {done} of {all} transactions are done, and applying it again does the rest");
    match error {
        StoreError::Conflict { .. } => conflict(&text),
        _ => refuse(by_store(error).code(), error.reason(), &text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(bytes: usize) -> Write {
        Write::put("k", vec![0; bytes - 1], Expected::Anything)
    }

    #[test]
    fn parts_are_as_large_as_a_transaction_may_be_and_keep_the_order() {
        let sizes = |writes: Vec<usize>| -> Vec<Vec<usize>> {
            let parts = split(writes.into_iter().map(write));
            parts.iter().map(|part| part.iter().map(size).collect()).collect()
        };
        let half = MAX_TRANSACTION / 2;
        assert_eq!(sizes(vec![]), Vec::<Vec<usize>>::new());
        assert_eq!(sizes(vec![half, half, 1]), [vec![half, half], vec![1]]);
        assert_eq!(sizes(vec![half, half + 1, half - 1]), [vec![half], vec![half + 1, half - 1]]);
        let many = sizes(vec![1; MAX_WRITES * 2 + 1]);
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_WRITES, MAX_WRITES, 1]);
    }
}
