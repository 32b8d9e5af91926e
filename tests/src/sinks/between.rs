//! A server between a program and a store, which sees every request, and may answer itself.

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a request, of which the lines before the body are shown.
#[derive(Debug)]
pub enum Turn {
    /// It goes on with these lines.
    On(Vec<String>),
    /// This is the answer, after which the connection ends.
    Answer(Vec<u8>),
    /// Nothing comes until the program goes away.
    Silence,
}

type Decide = Box<dyn Fn(Vec<String>) -> Turn + Send + Sync>;

/// A server under way. It takes nothing more when it is let go of.
#[derive(Debug)]
pub struct Between {
    /// Where it is.
    pub endpoint: String,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    store: String,
    decide: Decide,
    seen: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.store)
    }
}

impl Between {
    /// One before the store at an endpoint.
    pub fn start(
        endpoint: &str,
        decide: impl Fn(Vec<String>) -> Turn + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            store: endpoint.trim_start_matches("http://").to_owned(),
            decide: Box::new(decide),
            seen: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let serving = Arc::clone(&serving);
                // Whoever goes away in the middle of a request asks nothing.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &serving)));
            }
        });
        Self {
            endpoint: format!("http://{address}"),
            address,
            shared,
        }
    }

    /// The first line of every request so far.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // It sees that when somebody comes.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut input = BufReader::new(stream);
    let (mut lines, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.parse().unwrap_or(0);
        }
        if !lower.starts_with("connection: ") {
            lines.push(line);
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    let first = lines.first().cloned().unwrap_or_default();
    shared.seen.lock().unwrap().push(first);
    match (shared.decide)(lines) {
        Turn::On(lines) => {
            let mut store = TcpStream::connect(&shared.store)?;
            let head = format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"));
            store.write_all(head.as_bytes())?;
            store.write_all(&body)?;
            io::copy(&mut store, &mut out)?;
        }
        Turn::Answer(answer) => out.write_all(&answer)?,
        Turn::Silence => {
            let _ = input.read(&mut [0]);
        }
    }
    Ok(())
}
