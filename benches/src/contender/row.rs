//! An event as one value of a key-value store.

use crate::event::Event;
use anyhow::{Context as _, Result};
use runstone::Uuid;

/// Appends the event's bytes: each part after its length.
pub(crate) fn encode(event: &Event, out: &mut Vec<u8>) {
    part(out, event.stream.as_bytes());
    part(out, event.event_type.as_bytes());
    part(
        out,
        event.id.as_ref().map_or(&[], |id| id.as_bytes().as_slice()),
    );
    count(out, event.tags.len());
    for tag in &event.tags {
        part(out, tag.as_bytes());
    }
    count(out, event.meta.len());
    for (name, value) in &event.meta {
        part(out, name.as_bytes());
        part(out, value.as_bytes());
    }
    part(out, &event.payload);
}

fn count(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Reads an event again.
pub(crate) fn decode(mut bytes: &[u8]) -> Result<Event> {
    let stream = text(&mut bytes)?;
    let event_type = text(&mut bytes)?;
    let id = taken(&mut bytes)?;
    let id = (!id.is_empty()).then(|| Uuid::from_slice(id)).transpose()?;
    let tags = (0..number(&mut bytes)?).map(|_| text(&mut bytes));
    let tags = tags.collect::<Result<_>>()?;
    let meta = (0..number(&mut bytes)?).map(|_| Ok((text(&mut bytes)?, text(&mut bytes)?)));
    let meta = meta.collect::<Result<_>>()?;
    Ok(Event {
        stream,
        event_type,
        tags,
        id,
        meta,
        payload: taken(&mut bytes)?.to_vec(),
    })
}

fn number(bytes: &mut &[u8]) -> Result<usize> {
    let (number, rest) = bytes.split_first_chunk().context("a row is cut off")?;
    *bytes = rest;
    Ok(u32::from_le_bytes(*number) as usize)
}

fn taken<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8]> {
    let length = number(bytes)?;
    let (part, rest) = bytes.split_at_checked(length).context("a row is cut off")?;
    *bytes = rest;
    Ok(part)
}

fn text(bytes: &mut &[u8]) -> Result<String> {
    Ok(String::from_utf8(taken(bytes)?.to_vec())?)
}

/// The key of a posting: a term, a zero byte, the position.
pub(crate) fn posting(term: &str, position: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(term.len() + 9);
    key.extend_from_slice(term.as_bytes());
    key.push(0);
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// The position of a posting.
pub(crate) fn position_of(posting: &[u8]) -> Result<u64> {
    let position = posting.last_chunk().context("a posting is cut off")?;
    Ok(u64::from_be_bytes(*position))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Synthetic;

    #[test]
    fn rows_read_back() {
        let mut event = Synthetic::new(256).of_log(7);
        event.id = Some(Uuid::from_u128(7));
        event.meta.push(("source".to_owned(), "test".to_owned()));
        let mut row = Vec::new();
        encode(&event, &mut row);
        assert_eq!(format!("{:?}", decode(&row).unwrap()), format!("{event:?}"));
        assert!(decode(&row[..row.len() - 1]).is_err());
        assert_eq!(position_of(&posting("run-7", 9)).unwrap(), 9);
    }
}
