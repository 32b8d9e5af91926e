//! What destinations that are reached over HTTP have in common.

use crate::secret::SecretSource;
use reqwest::Url;
use reqwest::header::HeaderName;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

/// Most headers of a sink.
const MAX_HEADERS: usize = 32;
/// Headers that are the client's own to set.
const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// A place that is reached over HTTP, as a configuration names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpPlace<'a> {
    pub(crate) url: &'a str,
    /// Headers whose values are secrets.
    pub(crate) headers: &'a BTreeMap<String, SecretSource>,
    /// A list of headers that is a secret: `name=value,name=value`, values percent-encoded.
    pub(crate) header_list: Option<&'a SecretSource>,
    /// Certificates in PEM that are trusted besides those of the system.
    pub(crate) ca: Option<&'a Path>,
    /// Whether `http://` may lead off this machine.
    pub(crate) plain_http: bool,
}

impl HttpPlace<'_> {
    /// Where it is.
    pub(crate) fn url(&self) -> Result<Url, String> {
        let url: Url = self
            .url
            .parse()
            .map_err(|error| format!("the URL cannot be one: {error}"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "the URL has credentials, and would be recorded with them; name a header that has them"
                    .to_owned(),
            );
        }
        match url.scheme() {
            "https" => {}
            "http" if self.plain_http || is_loopback(&url) => {}
            "http" => {
                return Err(
                    "the URL is http:// and leads off this machine, where everybody on the way reads it; write https://, or plain_http = true"
                        .to_owned(),
                );
            }
            _ => return Err("the URL begins neither with https:// nor http://".to_owned()),
        }
        Ok(url)
    }

    /// What is wrong with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.url()?;
        if self.headers.len() > MAX_HEADERS {
            return Err(format!("more than {MAX_HEADERS} headers are named"));
        }
        for (name, value) in self.headers {
            header_name(name).ok_or_else(|| format!("`{name}` cannot be a header of a sink"))?;
            value.check()?;
        }
        if let Some(list) = self.header_list {
            list.check()?;
        }
        match self.ca {
            Some(ca) if !ca.is_absolute() => Err(format!(
                "the file of certificates `{}` is not named from the root of the file system",
                ca.display()
            )),
            _ => Ok(()),
        }
    }
}

/// The name of a header that a sink may have.
pub(crate) fn header_name(name: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok();
    name.filter(|name| !OWN_HEADERS.contains(&name.as_str()))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, plain_http: bool) -> Result<(), String> {
        let place = HttpPlace {
            url,
            headers: &BTreeMap::new(),
            header_list: None,
            ca: None,
            plain_http,
        };
        place.check()
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_it_is_written() {
        for url in [
            "https://example.com/a?b=c",
            "http://localhost:8080",
            "http://127.0.0.1/",
            "http://127.3.2.1/",
            "http://[::1]:80/",
        ] {
            assert_eq!(check(url, false), Ok(()), "{url}");
        }
        for url in [
            "http://example.com",
            "http://10.0.0.1/",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://[::2]/",
        ] {
            assert!(check(url, false).is_err(), "{url}");
            assert_eq!(check(url, true), Ok(()), "{url}");
        }
    }

    #[test]
    fn credentials_do_not_stand_in_urls_and_are_not_quoted() {
        for url in ["https://planted@a.b/", "https://a:planted@a.b/"] {
            let why = check(url, true).unwrap_err();
            assert!(
                why.contains("credentials") && !why.contains("planted"),
                "{why}"
            );
        }
        for url in [
            "ftp://a.b/",
            "/a",
            "",
            "a.b",
            "https://",
            "file:///etc/passwd",
        ] {
            assert!(check(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn headers_that_are_the_clients_own_are_refused() {
        let with = |name: &str, file: &str, ca: Option<&str>| {
            let value = SecretSource::File(file.into());
            let headers = BTreeMap::from([(name.to_owned(), value)]);
            let place = HttpPlace {
                url: "https://a.b",
                headers: &headers,
                header_list: None,
                ca: ca.map(Path::new),
                plain_http: false,
            };
            place.check()
        };
        assert_eq!(with("Authorization", "/a", Some("/ca.pem")), Ok(()));
        for name in ["Host", "content-length", "a b", "", "a:b", "a\r\nb"] {
            assert!(with(name, "/a", None).is_err(), "{name}");
        }
        assert!(with("a", "a", None).is_err());
        assert!(with("a", "/a", Some("ca.pem")).is_err());
    }
}
