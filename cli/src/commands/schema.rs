//! `schema`: the shapes of known payloads.

use crate::args::SchemaArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone};
use crate::session::Session;
use runstone::attach::openapi;
use runstone::{endpoints, schemas};
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct Known<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    version: u32,
    schema: &'a Value,
}

pub(crate) fn run(session: &Session, args: &SchemaArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    if args.http {
        let document = openapi(&endpoints());
        output.answer(&document, || format!("{document:#}"))?;
        return Ok(Exit::Done);
    }
    let all = schemas();
    if let Some(name) = &args.event_type {
        let known = all.iter().find(|known| known.name == name).ok_or_else(|| {
            let message = format!("no schema is known for type `{name}`");
            Report::new(Exit::NotFound, "unknown_schema", message)
        })?;
        output.answer(&known.json_schema, || format!("{:#}", known.json_schema))?;
        return Ok(Exit::Done);
    }
    if output.json {
        let mut results = Output::results();
        for known in &all {
            results.json(&Known {
                event_type: known.name,
                version: known.version,
                schema: &known.json_schema,
            })?;
        }
        results.flush()?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(output, &[("type", Align::Left), ("version", Align::Right)]);
    for known in &all {
        let version = known.version.to_string();
        table.row(vec![
            (known.name.to_owned(), Tone::Plain),
            (version, Tone::Plain),
        ]);
    }
    Output::text(&format!("{}\n", table.text()))?;
    Ok(Exit::Done)
}
