//! Pages of events as CBOR (RFC 8949): less than half the work of JSON, for whoever follows or reads much.
//!
//! ```text
//! page    = [next: uint / null, end: uint / null, items: [* item]]
//! item    = record / refusal
//! refusal = tstr  ; JSON
//! ```
//!
//! Records are those of `store/src/read/packed.rs`. Lengths are definite, arrays have exactly these items, a
//! page has 512 at most, and nothing follows.

use super::Refusal as _;
use super::page::Page;
use crate::error::ReadError;
use crate::read::{Encoded, Item, Part, array_of, read_record, write_record};
use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use std::sync::Arc;
use std::thread::yield_now;

/// Events after which others have their turn: whoever appends is not to wait for a page.
const TURN: usize = 32;
/// Bytes that an event has besides its content, more or less.
const EVENT_BYTES: usize = 320;

fn write_item<'a>(out: &'a mut Encoder<Vec<u8>>, item: &Item) -> Encoded<'a> {
    let told = match item {
        Ok(record) => match record.parts() {
            Ok((header, control)) => return write_record(out, record, (&header, &control)),
            Err(error) => error.told(),
        },
        Err(error) => error.told(),
    };
    // A `Told` always serialises.
    out.str(&serde_json::to_string(&told).unwrap_or_default())
}

fn write_number(out: &mut Encoder<Vec<u8>>, number: Option<u64>) -> Encoded<'_> {
    match number {
        Some(number) => out.u64(number),
        None => out.null(),
    }
}

fn write_page<'a>(out: &'a mut Encoder<Vec<u8>>, page: &Page) -> Encoded<'a> {
    out.array(3)?;
    write_number(out, page.next)?;
    write_number(out, page.end)?;
    out.array(page.len() as u64)?;
    let mut written = 0_usize;
    for part in &page.parts {
        if let Part::Shared(slice) = part
            && let Some(packed) = slice.packed()
        {
            out.writer_mut().extend_from_slice(packed);
            continue;
        }
        for item in part.items() {
            write_item(out, item)?;
            written += 1;
            if written.is_multiple_of(TURN) {
                yield_now();
            }
        }
    }
    Ok(out)
}

fn read_number(from: &mut Decoder<'_>) -> Result<Option<u64>, Error> {
    if from.datatype()? == Type::Null {
        from.null()?;
        return Ok(None);
    }
    from.u64().map(Some)
}

fn read_item(from: &mut Decoder<'_>) -> Result<Item, Error> {
    if from.datatype()? == Type::String {
        let told = serde_json::from_str(from.str()?).map_err(Error::message)?;
        return Ok(Err(ReadError::of(told)));
    }
    let record = read_record(from)?;
    Ok(record.map(Arc::new))
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
        page.add(Part::One(read_item(from)?));
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
        let room = self.bytes() + self.len() * EVENT_BYTES;
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
    use crate::fold::Payload;
    use crate::read::Record;
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
            page.push(Ok(Record {
                position: Position::new(u64::MAX),
                payload,
                control,
                ..record.clone()
            }));
        }
        page.push(Ok(record));
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
            page.push(Ok(Record {
                position: Position::new(position),
                recorded_at_us: 100,
                control: Control::new(),
                ..record
            }));
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
