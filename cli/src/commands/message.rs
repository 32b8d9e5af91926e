//! `message`: messages to agents, and orders to stop.

use crate::args::{MessageCommand, MessagesArgs, ReadArgs, SendArgs, WaitArgs};
use crate::error::{Exit, Failure, Report};
use crate::output::{HOLDER_LOST, Output, printable, rfc3339};
use crate::session::{Access, Pauses, Session, instant};
use runstone::agents::{AgentError, Heard, Message, Messages, NewMessage};
use runstone::events::control::message as field;
use runstone::{Log, Position};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::time::Duration;

/// What control says of an order whose sender may not give it.
const ORDER_REFUSED: u64 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A message as other programs see it.
#[derive(Serialize)]
struct Line<'a> {
    position: u64,
    id: String,
    sent_at: Option<String>,
    class: &'static str,
    from: &'a str,
    authority: &'static str,
    source: &'a str,
    to: Option<&'a str>,
    #[serde(rename = "type")]
    message_type: Option<&'a str>,
    directive: Option<&'a str>,
    text: Option<&'a str>,
    body: Option<&'a RawValue>,
    reply_to: Option<&'a str>,
    /// An order whose sender may not give it: nobody gets it.
    refused: bool,
    erased: bool,
}

impl<'a> Line<'a> {
    fn of(message: &'a Message) -> Self {
        let said = message.said.as_ref();
        Self {
            position: message.position.get(),
            id: message.event_id.to_string(),
            sent_at: rfc3339(message.sent_at_us),
            class: message.class.as_str(),
            from: &message.principal,
            authority: message.authority.as_str(),
            source: &message.source,
            to: said.map(|said| said.to.as_str()),
            message_type: said.and_then(|said| said.message_type.as_deref()),
            directive: said.and_then(|said| said.directive.as_deref()),
            text: said.and_then(|said| said.text.as_deref()),
            body: said.and_then(|said| said.body.as_deref()),
            reply_to: said.and_then(|said| said.reply_to.as_deref()),
            refused: false,
            erased: said.is_none(),
        }
    }

    /// One line for people: who says what.
    fn sentence(&self) -> String {
        let mut text = format!("{:>8}  {}", self.position, self.from);
        if !self.source.is_empty() {
            let _ = write!(text, " ({})", printable(self.source));
        }
        text.push(':');
        let body = self.body.map(RawValue::get);
        let parts = [self.message_type, self.directive, self.text, body];
        for part in parts.into_iter().flatten() {
            let _ = write!(text, " {}", printable(part));
        }
        if self.erased {
            text.push_str(" (erased)");
        }
        if self.refused {
            text.push_str(" (refused, and not delivered)");
        }
        text.push('\n');
        text
    }
}

/// What an agent is told, as other programs see it.
#[derive(Serialize)]
struct HeardLine<'a> {
    must_exit: bool,
    open_tasks: Option<u64>,
    cursor: Option<u64>,
    messages: Vec<Line<'a>>,
    acks: Vec<Line<'a>>,
    orders: Vec<Line<'a>>,
}

pub(crate) fn run(session: &Session, command: MessageCommand) -> Result<Exit, Failure> {
    match command {
        MessageCommand::Send(args) => send(session, args),
        MessageCommand::Wait(args) => wait(session, &args),
        MessageCommand::List(args) => list(session, &args),
        MessageCommand::Read(args) => read(session, &args),
    }
}

/// What became of a message.
#[derive(Serialize)]
struct SentLine {
    position: u64,
    order: bool,
    refused: bool,
}

fn send(session: &Session, args: SendArgs) -> Result<Exit, Failure> {
    let says = [&args.message_type, &args.directive, &args.text, &args.body];
    if says.iter().all(|said| said.is_none()) {
        let report = Report::usage("the message says nothing");
        return Err(report
            .hint("give --text, --directive, --type or --body")
            .into());
    }
    let mut message = NewMessage::to(args.to);
    message.message_type = args.message_type;
    message.directive = args.directive;
    message.text = args.text;
    message.reply_to = args.reply_to;
    message.source = args.source;
    message.body = args
        .body
        .map(RawValue::from_string)
        .transpose()
        .map_err(|_| AgentError::Body)?;
    let sent = session.with(Access::Write, |log| {
        Ok(Messages::new(log).send_blocking(&message)?)
    })?;
    let line = SentLine {
        position: sent.position.get(),
        order: sent.is_order,
        refused: sent.is_refused,
    };
    if sent.is_refused {
        session.output.error(
            &Report::new(
                Exit::Keys,
                "order_refused",
                "an order to stop takes a person or a commander; it is recorded and not delivered",
            )
            .hint("give the credential of a person: --cred FILE or RUNSTONE_CRED"),
        );
    }
    if !sent.is_refused || session.output.json {
        session.output.answer(&line, || {
            let what = if sent.is_order {
                "the order"
            } else {
                "the message"
            };
            format!("{what} stands at position {}\n", line.position)
        })?;
    }
    Ok(if sent.is_refused {
        Exit::Keys
    } else {
        Exit::Done
    })
}

/// Looks once. Whoever holds the log is asked on the same way as before; the file is closed again.
fn look(
    session: &Session,
    held: &mut Option<Log>,
    args: &WaitArgs,
    after: Option<Position>,
) -> Result<Heard, Failure> {
    let log = match held.take() {
        Some(log) => log,
        None => session.open(Access::Write)?,
    };
    let messages = Messages::new(&log);
    let heard = messages.attend_blocking(&args.agent, after);
    let heard = heard.and_then(|heard| {
        if let Some(cursor) = heard.cursor.filter(|_| args.mark) {
            messages.mark_read_blocking(&args.agent, cursor)?;
        }
        Ok(heard)
    });
    if log.is_attached() && heard.is_ok() {
        *held = Some(log);
    } else {
        let closed = log.close_blocking();
        let heard = heard?;
        closed?;
        return Ok(heard);
    }
    Ok(heard?)
}

/// Looks until there is something.
fn wait(session: &Session, args: &WaitArgs) -> Result<Exit, Failure> {
    let begun = instant();
    let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut after = args.after.map(Position::new);
    let mut nothing = Heard::default();
    nothing.cursor = after;
    let mut held = None;
    loop {
        match look(session, &mut held, args, after) {
            Ok(heard) if !heard.is_empty() => return tell(session, &heard, Exit::Done),
            Ok(heard) => {
                after = heard.cursor;
                nothing = heard;
            }
            // Whoever holds the log may be the one that writes; one that went away is followed by another.
            Err(Failure::Report(report))
                if report.exit == Exit::Busy || report.code == HOLDER_LOST => {}
            Err(failure) => return Err(failure),
        }
        let left = args.timeout.map_or(LONGEST_PAUSE, |timeout| {
            timeout.saturating_sub(begun.elapsed())
        });
        if left.is_zero() {
            return tell(session, &nothing, Exit::No);
        }
        pauses.rest(left);
    }
}

fn tell(session: &Session, heard: &Heard, exit: Exit) -> Result<Exit, Failure> {
    let line = HeardLine {
        must_exit: heard.must_exit,
        open_tasks: heard.open_tasks,
        cursor: heard.cursor.map(Position::get),
        messages: heard.messages.iter().map(Line::of).collect(),
        acks: heard.acks.iter().map(Line::of).collect(),
        orders: heard.orders.iter().map(Line::of).collect(),
    };
    if heard.is_empty() {
        session.output.note("nothing came");
        if !session.output.json {
            return Ok(exit);
        }
    }
    session.output.answer(&line, || {
        let mut text = String::new();
        let said = line.messages.iter().chain(&line.acks).chain(&line.orders);
        said.for_each(|said| text.push_str(&said.sentence()));
        if line.must_exit {
            text.push_str("must exit\n");
        }
        text
    })?;
    Ok(exit)
}

fn list(session: &Session, args: &MessagesArgs) -> Result<Exit, Failure> {
    let after = args.after.map(Position::new);
    let found = session.with(Access::Folds, |log| {
        let found = Messages::new(log).list(&args.agent, after, args.limit)?;
        let found = found.into_iter().map(|message| {
            let control = log.record(message.position)?.control;
            let is_refused = control.get_u64(field::ORDER) == Some(ORDER_REFUSED);
            Ok((message, is_refused))
        });
        found.collect::<Result<Vec<_>, Failure>>()
    })?;
    if found.is_empty() {
        session.output.note("there is no such message");
    }
    let mut results = Output::results();
    for (message, refused) in &found {
        let line = Line {
            refused: *refused,
            ..Line::of(message)
        };
        if session.output.json {
            results.json(&line)?;
        } else {
            results.line(line.sentence().trim_end())?;
        }
    }
    results.flush()?;
    Ok(Exit::Done)
}

fn read(session: &Session, args: &ReadArgs) -> Result<Exit, Failure> {
    #[derive(Serialize)]
    struct Mark<'a> {
        reader: &'a str,
        up_to: Option<u64>,
    }
    let mark = session.with(Access::Write, |log| {
        let messages = Messages::new(log);
        messages.mark_read_blocking(&args.reader, Position::new(args.up_to))?;
        Ok(messages.read_mark(&args.reader)?)
    })?;
    let mark = Mark {
        reader: &args.reader,
        up_to: mark.map(Position::get),
    };
    session.output.answer(&mark, || {
        let up_to = mark
            .up_to
            .map_or_else(|| "nothing".to_owned(), |up_to| format!("up to {up_to}"));
        format!("{} has read {up_to}\n", args.reader)
    })?;
    Ok(Exit::Done)
}
