//! A server of object storage that nobody here wrote: tests/foreign/s3.py.

use crate::command::workspace;
use crate::pack::prepared;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A server under way, with one bucket. It ends when it is let go of.
#[derive(Debug)]
pub struct Bucket {
    child: Child,
    /// Where the server is.
    pub endpoint: String,
}

/// The name of the bucket.
pub const BUCKET: &str = "agents";

impl Default for Bucket {
    fn default() -> Self {
        let mut child = Command::new(prepared("s3").join("bin/python"))
            .arg(workspace().join("tests/foreign/s3.py"))
            .arg(BUCKET)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut endpoint = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut endpoint).unwrap();
        Self {
            child,
            endpoint: endpoint.trim_end().to_owned(),
        }
    }
}

impl Bucket {
    /// Asks the server, which looks at no signature; answers everything that it says.
    pub fn ask(&self, method: &str, object: &str, body: &str) -> String {
        let host = self.endpoint.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host).unwrap();
        let length = body.len();
        let head = format!("{method} /{BUCKET}/{object} HTTP/1.1\r\nHost: {host}\r\n");
        let key = "AWS4-HMAC-SHA256 Credential=anyone/20260101/us-east-1/s3/aws4_request";
        let signed = format!("Authorization: {key}, SignedHeaders=host, Signature=0\r\n");
        let rest = format!("Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        stream
            .write_all(format!("{head}{signed}{rest}").as_bytes())
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
