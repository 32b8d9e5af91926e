//! A client that nobody here wrote asks everything that the document of the socket describes, with what
//! fits it and what does not: it is never answered with a fault of the holder, and never otherwise than
//! the document says.
//!
//! ```text
//!  schemathesis --- TCP, loopback --- this process --- LOG.sock --- the log, of this process too
//! ```
//!
//! `RUNSTONE_HTTP_EXAMPLES` is how many requests of each kind are made up, by a seed of their own.

use runstone::attach::Limits;
use runstone::trays::Trays;
use runstone::{NewEvent, Runstone};
use runstone_tests::held::{Site, post};
use runstone_tests::pack::command;
use runstone_tests::tamper::Outcome;
use serde_json::Value;
use std::io::copy;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EXAMPLES: &str = "2";
/// What is left out: two write files of the holder where they are told to, and one has no end.
const LEFT_OUT: [&str; 3] = ["/v1/backup", "/v1/keys/backup", "/v1/events"];

/// Carries what comes on a port to the socket and back, each connection on threads of its own.
fn carry(listener: TcpListener, socket: PathBuf) {
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let socket = socket.clone();
            std::thread::spawn(move || carry_one(&near, &socket));
        }
    });
}

/// Whoever hangs up first ends it for both.
fn carry_one(near: &TcpStream, socket: &Path) -> std::io::Result<()> {
    near.set_nodelay(true)?;
    let far = UnixStream::connect(socket)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = copy(&mut &*near, &mut &far);
            let _ = far.shutdown(Shutdown::Write);
        });
        let _ = copy(&mut &far, &mut &*near);
        let _ = near.shutdown(Shutdown::Both);
    });
    Ok(())
}

/// How many requests are made up, and by which seed: one that is always the same, if nobody asked.
fn effort() -> Vec<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how much it does"
    )]
    let asked = std::env::var("RUNSTONE_HTTP_EXAMPLES").ok();
    match asked {
        Some(examples) => vec!["--max-examples".to_owned(), examples],
        None => ["--max-examples", EXAMPLES, "--seed", "1"]
            .map(str::to_owned)
            .to_vec(),
    }
}

#[test]
fn whatever_is_asked_is_answered_as_the_document_says() -> Outcome {
    let _alone = crate::alone();
    let site = Site::new()?;
    let mut limits = Limits::default();
    limits.follow_time = Duration::from_millis(100);
    let here = Runstone::options().serve(limits).create(&site.log)?;
    here.append_blocking(NewEvent::new("chat.message", "s").payload("{}"))?;
    Trays::new(&here).open_blocking("in")?;

    let mut document = runstone::attach::openapi(&runstone::endpoints());
    let paths = document["paths"].as_object_mut().ok_or("no paths")?;
    for name in LEFT_OUT {
        paths.remove(name).ok_or(name)?;
    }
    let count = paths.len();
    std::fs::write(site.path("openapi.json"), document.to_string())?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    carry(listener, site.socket());

    let asked = command("schemathesis")
        .args(["run", "openapi.json", "--url"])
        .arg(format!("http://{address}"))
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--checks", "not_a_server_error,response_schema_conformance"])
        .args(["--checks", "status_code_conformance"])
        .args(["--request-timeout", "30", "--suppress-health-check", "all"])
        .args(["--generation-database", "none", "--no-color"])
        .args(effort())
        .current_dir(site.path(""))
        .output()?;
    let told = String::from_utf8_lossy(&asked.stdout);
    let all = format!("{told}{}", String::from_utf8_lossy(&asked.stderr));
    assert!(asked.status.success(), "{all}");
    assert!(all.contains(&format!("Tested: {count}")), "{all}");

    let (status, facts): (u16, Value) = post(&site.socket(), "facts", "{}")?;
    assert!(status == 200 && facts["size"].is_u64(), "{facts}");
    assert!(here.health().is_ok());
    Ok(())
}
