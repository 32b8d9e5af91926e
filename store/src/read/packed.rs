//! Events as CBOR (RFC 8949), as pages have them and as they are kept for whoever follows.
//!
//! ```text
//! record  = [position: uint, revision: uint, recorded_at_us: uint, header: bstr, control: bstr, payload]
//! payload = bstr                      ; the JSON bytes as they were given
//!         / [state: uint, why: tstr]  ; 1 erased, 2 withheld, 3 undecodable, 4 unavailable, 5 not asked for
//! ```
//!
//! Lengths are definite, and arrays have exactly these items.

use super::records::Record;
use crate::error::ReadError;
use crate::fold::Payload;
use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};
use std::convert::Infallible;

/// What something was added to; a vector takes everything.
pub(crate) type Encoded<'a> = Result<&'a mut Encoder<Vec<u8>>, minicbor::encode::Error<Infallible>>;

/// Position, revision, and time of recording in Unix microseconds.
pub(crate) type Place = (u64, u64, u64);

fn write_parts<'a>(
    out: &'a mut Encoder<Vec<u8>>,
    (position, revision, recorded_at_us): Place,
    (header, control): (&[u8], &[u8]),
) -> Encoded<'a> {
    out.array(6)?
        .u64(position)?
        .u64(revision)?
        .u64(recorded_at_us)?
        .bytes(header)?
        .bytes(control)
}

/// An event whose content is open, of header and control as docs/FORMAT.md encodes them.
pub(crate) fn write_open<'a>(
    out: &'a mut Encoder<Vec<u8>>,
    place: Place,
    parts: (&[u8], &[u8]),
    content: &[u8],
) -> Encoded<'a> {
    write_parts(out, place, parts)?.bytes(content)
}

/// The bytes of its header and of its control go before, since either may not be to be had.
pub(crate) fn write_record<'a>(
    out: &'a mut Encoder<Vec<u8>>,
    record: &Record,
    parts: (&[u8], &[u8]),
) -> Encoded<'a> {
    let out = write_parts(out, record.place(), parts)?;
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

/// An array of so many items begins.
pub(crate) fn array_of(from: &mut Decoder<'_>, items: u64) -> Result<(), Error> {
    if from.array()? == Some(items) {
        return Ok(());
    }
    Err(Error::message("an array has other items"))
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

/// What was written; inside of it, what is wrong with the event itself.
pub(crate) fn read_record(from: &mut Decoder<'_>) -> Result<Result<Record, ReadError>, Error> {
    array_of(from, 6)?;
    let place = (from.u64()?, from.u64()?, from.u64()?);
    let parts = (from.bytes()?, from.bytes()?);
    let payload = read_payload(from)?;
    Ok(Record::of_parts(place, parts, payload))
}
