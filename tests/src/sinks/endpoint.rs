//! A server on this machine that keeps what is posted to it, whole, and answers as it is told.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A server under way. It takes nothing more when it is let go of.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    posted: Mutex<Vec<Posted>>,
    answers: Mutex<VecDeque<u16>>,
    is_over: AtomicBool,
}

impl Endpoint {
    /// One that gives these answers, and then takes everything.
    pub fn start(answers: impl IntoIterator<Item = u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answers: Mutex::new(answers.into_iter().collect()),
            ..Shared::default()
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // Whoever goes away in the middle of a request did not post it.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &serving)));
            }
        });
        Self {
            url: format!("http://{address}/events"),
            address,
            shared,
        }
    }

    /// Every request so far, in the order in which they came.
    pub fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap().clone()
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // It sees that when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let mut posted = Posted::default();
        loop {
            line.clear();
            input.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            let name = name.to_ascii_lowercase();
            posted.headers.insert(name, value.to_owned());
        }
        let length = posted.headers.get("content-length");
        let length = length.and_then(|length| length.parse().ok());
        posted.body.resize(length.unwrap_or_default(), 0);
        input.read_exact(&mut posted.body)?;
        shared.posted.lock().unwrap().push(posted);
        let answer = shared.answers.lock().unwrap().pop_front().unwrap_or(200);
        write!(out, "HTTP/1.1 {answer} so\r\ncontent-length: 0\r\n\r\n")?;
        line.clear();
    }
    Ok(())
}
