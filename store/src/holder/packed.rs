//! Pages of events as CBOR (RFC 8949): less than half the work of JSON, for whoever follows or reads much.
//!
//! ```text
//! page    = [next: uint / null, end: uint / null, items: [* item]]
//! item    = record / refusal
//! record  = [position: uint, revision: uint, recorded_at_us: uint, header: bstr, control: bstr, payload]
//! payload = bstr                    ; the JSON bytes as they were given
//!         / [state: uint, why: tstr]  ; 1 erased, 2 withheld, 3 undecodable, 4 unavailable, 5 not asked for
//! refusal = tstr                    ; JSON
//! ```
//!
//! Lengths are definite, arrays have exactly these items, a page has 512 at most, and nothing follows.

use super::Refusal as _;
use super::page::{Item, Page};
use super::wire::{parts_of, record_of};
use crate::error::ReadError;
use crate::fold::Payload;
use crate::read::Record;
use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use std::convert::Infallible;
use std::sync::Arc;
use std::thread::yield_now;

/// Events after which others have their turn: whoever appends is not to wait for a page.
const TURN: usize = 32;
/// Bytes that an event has besides its content, more or less.
const EVENT_BYTES: usize = 320;

type Written<'a> = Result<&'a mut Encoder<Vec<u8>>, minicbor::encode::Error<Infallible>>;

/// The bytes of its header and of its control go before, since either may not be to be had.
fn write_record<'a>(
    out: &'a mut Encoder<Vec<u8>>,
    record: &Record,
    (header, control): (&[u8], &[u8]),
) -> Written<'a> {
    out.array(6)?
        .u64(record.position.get())?
        .u64(record.revision.get())?
        .u64(record.recorded_at_us)?
        .bytes(header)?
        .bytes(control)?;
    let (state, why) = match &record.payload {
        Payload::Open(bytes) => return out.bytes(bytes),
        Payload::Erased => (1, ""),
        Payload::Withheld => (2, ""),
        Payload::Undecodable(why) => (3, why.as_str()),
        Payload::Unavailable(why) => (4, why.as_str()),
        Payload::Skipped => (5, ""),
    };
    out.array(2)?.u64(state)?.str(why)
}

fn write_item<'a>(out: &'a mut Encoder<Vec<u8>>, item: &Item) -> Written<'a> {
    let told = match item {
        Ok(record) => match parts_of(record) {
            Ok((header, control)) => return write_record(out, record, (&header, &control)),
            Err(error) => error.told(),
        },
        Err(error) => error.told(),
    };
    // A `Told` always serialises.
    out.str(&serde_json::to_string(&told).unwrap_or_default())
}

fn write_number(out: &mut Encoder<Vec<u8>>, number: Option<u64>) -> Written<'_> {
    match number {
        Some(number) => out.u64(number),
        None => out.null(),
    }
}

fn write_page<'a>(out: &'a mut Encoder<Vec<u8>>, page: &Page) -> Written<'a> {
    out.array(3)?;
    write_number(out, page.next)?;
    write_number(out, page.end)?;
    out.array(page.items.len() as u64)?;
    for turn in page.items.chunks(TURN) {
        for item in turn {
            write_item(out, item)?;
        }
        yield_now();
    }
    Ok(out)
}

fn array_of(from: &mut Decoder<'_>, items: u64) -> Result<(), Error> {
    if from.array()? == Some(items) {
        return Ok(());
    }
    Err(Error::message("an array has other items"))
}

fn read_number(from: &mut Decoder<'_>) -> Result<Option<u64>, Error> {
    if from.datatype()? == Type::Null {
        from.null()?;
        return Ok(None);
    }
    from.u64().map(Some)
}

fn read_payload(from: &mut Decoder<'_>) -> Result<Payload, Error> {
    if from.datatype()? == Type::Bytes {
        return Ok(Payload::Open(from.bytes()?.to_vec()));
    }
    array_of(from, 2)?;
    let state = from.u64()?;
    let why = from.str()?.to_owned();
    Ok(match state {
        1 => Payload::Erased,
        2 => Payload::Withheld,
        3 => Payload::Undecodable(why),
        4 => Payload::Unavailable(why),
        5 => Payload::Skipped,
        _ => return Err(Error::message("a payload is in a state that is not known")),
    })
}

fn read_item(from: &mut Decoder<'_>) -> Result<Item, Error> {
    if from.datatype()? == Type::String {
        let told = serde_json::from_str(from.str()?).map_err(Error::message)?;
        return Ok(Err(ReadError::of(told)));
    }
    array_of(from, 6)?;
    let place = (from.u64()?, from.u64()?, from.u64()?);
    let parts = (from.bytes()?, from.bytes()?);
    let payload = read_payload(from)?;
    Ok(record_of(place, parts, payload).map(Arc::new))
}

fn read_page(bytes: &[u8]) -> Result<Page, Error> {
    let from = &mut Decoder::new(bytes);
    array_of(from, 3)?;
    let (next, end) = (read_number(from)?, read_number(from)?);
    let items = from.array()?.and_then(|items| usize::try_from(items).ok());
    let Some(items) = items.filter(|items| *items <= Page::EVENTS) else {
        return Err(Error::message("a page of too many items"));
    };
    let mut page = Page::default();
    (page.next, page.end) = (next, end);
    for item in 1..=items {
        page.push(read_item(from)?);
        if item.is_multiple_of(TURN) {
            yield_now();
        }
    }
    if from.position() < bytes.len() {
        return Err(Error::message("something follows the page"));
    }
    Ok(page)
}

impl Page {
    /// Its bytes as CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let room = self.bytes() + self.items.len() * EVENT_BYTES;
        let mut out = Encoder::new(Vec::with_capacity(room));
        // A vector takes everything.
        let _ = write_page(&mut out, self);
        out.into_writer()
    }

    /// What [`to_cbor`](Self::to_cbor) wrote.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, String> {
        read_page(bytes).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Corruption;
    use crate::{CreateOptions, Log, OpenOptions};
    use proptest::prelude::*;
    use runstone_codec::{Control, ControlValue, NewEvent, Position};

    /// A page with everything that one can have.
    fn page() -> Page {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        let event = NewEvent::new("a.b", "s").tag("k:v").payload(" [1, 2] ");
        let position = log.append_blocking(event).unwrap().last;
        let record = log.record(position).unwrap();
        let why = || "why".to_owned();
        let mut page = Page::default();
        for payload in [
            Payload::Open(Vec::new()),
            Payload::Erased,
            Payload::Withheld,
            Payload::Undecodable(why()),
            Payload::Unavailable(why()),
            Payload::Skipped,
            record.payload.clone(),
        ] {
            let mut control = Control::new();
            control.insert(7, ControlValue::U64(u64::MAX));
            page.push(Ok(Arc::new(Record {
                position: Position::new(u64::MAX),
                payload,
                control,
                ..record.clone()
            })));
        }
        page.push(Ok(Arc::new(record)));
        page.push(Err(Corruption::at(3, "this", "that").into()));
        (page.next, page.end) = (Some(9), None);
        page
    }

    fn json(page: &Page) -> String {
        serde_json::to_string(page).unwrap()
    }

    #[test]
    fn a_page_comes_back_as_it_is() {
        for page in [Page::default(), page()] {
            let back = Page::from_cbor(&page.to_cbor()).unwrap();
            assert_eq!(json(&back), json(&page));
        }
    }

    /// By another hand: heads of items as in the examples of RFC 8949, appendix A.
    #[test]
    fn the_form_is_what_is_written_above() {
        let records: Vec<_> = page().into_records().flatten().take(2).collect();
        let header = records[0].header.encode().unwrap();
        let mut page = Page::default();
        page.next = Some(10);
        for (record, position) in records.into_iter().zip([1, 1000]) {
            page.push(Ok(Arc::new(Record {
                position: Position::new(position),
                recorded_at_us: 100,
                control: Control::new(),
                ..record
            })));
        }
        let bytes = [
            &[0x83, 0x0a, 0xf6, 0x82][..],
            &[
                0x86,
                0x01,
                0x00,
                0x18,
                0x64,
                0x58,
                u8::try_from(header.len()).unwrap(),
            ],
            &header,
            &[0x40, 0x40],
            &[
                0x86,
                0x19,
                0x03,
                0xe8,
                0x00,
                0x18,
                0x64,
                0x58,
                u8::try_from(header.len()).unwrap(),
            ],
            &header,
            &[0x40, 0x82, 0x01, 0x60],
        ];
        assert_eq!(page.to_cbor(), bytes.concat());
    }

    #[test]
    fn what_is_cut_or_goes_on_is_no_page() {
        let whole = page().to_cbor();
        for length in 0..whole.len() {
            assert!(Page::from_cbor(&whole[..length]).is_err(), "{length}");
        }
        assert!(Page::from_cbor(&[&whole[..], &[0]].concat()).is_err());
        // So many items that nobody has room for them, arrays in arrays, and one without an end.
        let many = [
            0x83, 0xf6, 0xf6, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        ];
        assert!(Page::from_cbor(&many).is_err());
        assert!(
            Page::from_cbor(&[&[0x83, 0xf6, 0xf6][..], &vec![0x81; 1 << 16]].concat()).is_err()
        );
        assert!(Page::from_cbor(&[0x83, 0xf6, 0xf6, 0x9f, 0xff]).is_err());
    }

    proptest! {
        /// Whatever is read is written as what it was read as.
        #[test]
        fn any_bytes_are_a_page_or_none(at in 0_usize..400, byte: u8, more: Vec<u8>) {
            let mut bytes = page().to_cbor();
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            bytes.truncate(bytes.len() - more.len().min(9));
            bytes.extend(more);
            if let Ok(page) = Page::from_cbor(&bytes) {
                let again = Page::from_cbor(&page.to_cbor()).unwrap();
                prop_assert_eq!(json(&again), json(&page));
            }
        }
    }
}
