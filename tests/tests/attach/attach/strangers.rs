//! Whoever is somebody else to the system. Only root can be two users, so as anybody else these say
//! that they did not run.

use runstone::Runstone;
use runstone::attach::{AttachError, ConnectError, connect};
use runstone_tests::held::{Process, Site, post};
use runstone_tests::tamper::Outcome;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Somebody else; whether there is such a user does not matter.
const STRANGER: u32 = 54_321;

/// Whether this process may act as others; says so if it may not.
fn may_be_others() -> Outcome<bool> {
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    if !is_root {
        // Past the harness, which shows nothing of a test that passes.
        std::io::stderr().write_all(b"SKIPPED: another user can be had by root alone\n")?;
    }
    Ok(is_root)
}

fn open_to_all(path: &Path) -> Outcome {
    Ok(fs::set_permissions(path, Permissions::from_mode(0o777))?)
}

/// What curl is answered as somebody else: its exit code, and the status.
fn asked_by_a_stranger(socket: &Path) -> Outcome<(Option<i32>, String)> {
    let ended = Command::new("curl")
        .args(["-s", "--max-time", "30", "-o", "/dev/null"])
        .args(["-w", "%{http_code}", "-d", "{}", "--unix-socket"])
        .arg(socket)
        .arg("http://localhost/v1/facts")
        .uid(STRANGER)
        .gid(STRANGER)
        .output()?;
    Ok((ended.status.code(), String::from_utf8(ended.stdout)?))
}

#[test]
fn a_client_of_somebody_else_is_refused_though_it_reaches_the_socket() -> Outcome {
    if !may_be_others()? {
        return Ok(());
    }
    let site = Site::new()?;
    let _here = Runstone::create(&site.log)?;
    let socket = site.socket();
    open_to_all(&site.path(""))?;
    // 7: it cannot connect. That is the mode of the socket.
    assert_eq!(asked_by_a_stranger(&socket)?.0, Some(7));
    open_to_all(&socket)?;
    // Now it is who connects that counts.
    assert_eq!(asked_by_a_stranger(&socket)?, (Some(0), "403".to_owned()));
    assert_eq!(post(&socket, "facts", "{}")?.0, 200);
    Ok(())
}

#[test]
fn a_client_refuses_a_socket_that_somebody_else_serves() -> Outcome {
    if !may_be_others()? {
        return Ok(());
    }
    let site = Site::new()?;
    open_to_all(&site.path(""))?;
    // Any program that listens; where it was built is not everybody's to see.
    let program = site.path("gateway");
    fs::copy(env!("CARGO_BIN_EXE_gateway"), &program)?;
    open_to_all(&program)?;
    let child = Command::new(&program)
        .args([site.socket(), site.path("charges")])
        .args(["plain", "0"])
        .current_dir(site.path(""))
        .stdout(Stdio::piped())
        .uid(STRANGER)
        .gid(STRANGER)
        .spawn()?;
    let mut server = Process(child);
    let mut ready = String::new();
    let output = server.0.stdout.take().ok_or("it has an output")?;
    BufReader::new(output).read_line(&mut ready)?;
    assert_eq!(ready, "listening\n");
    let refused = connect(&site.socket()).unwrap_err();
    assert!(
        matches!(
            refused,
            ConnectError::Attach(AttachError::Foreign { uid: STRANGER, .. })
        ),
        "{refused}"
    );
    Ok(())
}
