//! A folder or an object store, in which nothing is ever overwritten.

mod blocking;
mod limited;
mod s3;

use crate::config::S3Config;
use crate::sink::Rejection;
pub(crate) use blocking::Blocking;
use limited::MaxBytes;
use object_store::aws::AmazonS3;
use object_store::client::HttpError;
use object_store::list::{PaginatedListOptions, PaginatedListStore as _};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Error, Extensions, GetOptions, GetResult, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions, PutPayload, WriteMultipart,
};
use reqwest::Url;
use runstone_store::MAX_SEGMENT_BYTES;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use tokio_stream::StreamExt as _;

/// Largest object that is read: the largest segment in base64.
const MAX_OBJECT_BYTES: u64 = MAX_SEGMENT_BYTES / 3 * 4 + (64 << 20);
/// Bytes that are handed over at once.
const CHUNK_BYTES: usize = 8 << 20;
/// Most objects that are listed.
const MAX_OBJECTS: u64 = 4_000_000;
/// Most pages of a listing, one after the other, that list nothing.
const MAX_EMPTY_PAGES: u32 = 100;
/// The object of a log by which a store shows that it refuses to create what is there.
const PROBE: &str = "created-once";
/// How an answer is told that is no success.
const STATUS: &str = "Server returned non-2xx status code";

/// The one way to write the name of a place.
///
/// # Errors
///
/// What is wrong with the name.
pub(crate) fn normal(url: &str) -> Result<String, String> {
    Ok(match Address::of(url)? {
        Address::Folder(folder) => {
            let folder: std::path::PathBuf = folder.components().collect();
            folder.display().to_string()
        }
        Address::Bucket { name, prefix } => format!("s3://{name}/{prefix}"),
    })
}

/// Where a place is.
enum Address {
    Folder(std::path::PathBuf),
    Bucket { name: String, prefix: Path },
}

impl Address {
    fn bucket(url: &Url) -> Result<Self, String> {
        let name = url.host_str().unwrap_or_default();
        if name.is_empty() || url.port().is_some() {
            return Err("the URL names no bucket".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL has credentials, and would be recorded with them".to_owned());
        }
        let prefix = Path::from_url_path(url.path());
        Ok(Self::Bucket {
            name: name.to_owned(),
            prefix: prefix.map_err(|error| error.to_string())?,
        })
    }

    fn of(url: &str) -> Result<Self, String> {
        let parsed: Url = url
            .parse()
            .map_err(|error| format!("it cannot be a URL: {error}"))?;
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err("the URL of an archive has no question mark and no number sign".to_owned());
        }
        match parsed.scheme() {
            "file" => match parsed.to_file_path() {
                Ok(path) if path.file_name().is_some() => Ok(Self::Folder(path)),
                _ => Err("it is no folder, named from the root of the file system".to_owned()),
            },
            "s3" => Self::bucket(&parsed),
            _ => Err("it begins neither with file:/// nor s3://".to_owned()),
        }
    }
}

/// A folder or an object store.
#[derive(Debug)]
pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
    /// The same, if it is no folder.
    bucket: Option<AmazonS3>,
    prefix: Path,
    /// As people say it.
    url: String,
}

/// What became of an object that was put.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is there.
    There,
    /// Another one was there, and is.
    Another(Vec<u8>),
}

impl Place {
    /// A place that is there, or a folder that is made if `makes` says so.
    pub(crate) fn open(url: &str, config: &S3Config, makes: bool) -> Result<Self, Rejection> {
        let shown = url.trim_end_matches('/').to_owned();
        let folder = match Address::of(url).map_err(Rejection::Unusable)? {
            Address::Folder(folder) => folder,
            Address::Bucket { name, prefix } => {
                let bucket = s3::open(&name, config)?;
                return Ok(Self {
                    store: Arc::new(bucket.clone()),
                    bucket: Some(bucket),
                    prefix,
                    url: shown,
                });
            }
        };
        let wrong = |error: io::Error| Rejection::Unavailable(format!("{url}: {error}"));
        if makes {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(&folder);
            made.map_err(wrong)?;
        } else {
            std::fs::metadata(&folder).map_err(wrong)?;
        }
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| rejection(url, &error))?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            bucket: None,
            prefix: Path::default(),
            url: shown,
        })
    }

    /// A name under the prefix.
    pub(crate) fn path(&self, parts: &[&str]) -> Path {
        let mut path = self.prefix.clone();
        for part in parts {
            path = path.join(*part);
        }
        path
    }

    /// An object as people say it.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let under = path.as_ref().strip_prefix(self.prefix.as_ref());
        let under = under
            .unwrap_or_else(|| path.as_ref())
            .trim_start_matches('/');
        format!("{}/{under}", self.url)
    }

    /// Tells of every object under a name, in whatever order; if `after` is there, of those alone whose
    /// names come after it.
    pub(crate) async fn list(
        &self,
        under: &Path,
        after: Option<&Path>,
        mut each: impl FnMut(&Path) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let mut found = 0;
        let mut told = |path: &Path| {
            found += 1;
            if found > MAX_OBJECTS {
                let why = format!("{} has more than {MAX_OBJECTS} objects", self.shown(under));
                return Err(Rejection::Unusable(why));
            }
            // Not every store begins where it is told to.
            if after.is_none_or(|after| path > after) {
                each(path)?;
            }
            Ok(())
        };
        let Some(bucket) = &self.bucket else {
            let mut objects = self.store.list(Some(under));
            while let Some(object) = objects.next().await {
                told(
                    &object
                        .map_err(|error| rejection(&self.url, &error))?
                        .location,
                )?;
            }
            return Ok(());
        };
        let prefix = (!under.as_ref().is_empty()).then(|| format!("{under}/"));
        let mut options = PaginatedListOptions {
            offset: after.map(ToString::to_string),
            ..PaginatedListOptions::default()
        };
        let mut empty = 0;
        loop {
            let page = bucket.list_paginated(prefix.as_deref(), options.clone());
            let page = page.await.map_err(|error| rejection(&self.url, &error))?;
            empty = match page.result.objects.len() {
                0 => empty + 1,
                _ => 0,
            };
            for object in page.result.objects {
                told(&object.location)?;
            }
            let next = page.page_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(());
            }
            if empty == MAX_EMPTY_PAGES || next == options.page_token {
                let why = format!("{}: its listing does not end", self.url);
                return Err(Rejection::Unavailable(why));
            }
            options.page_token = next;
        }
    }

    async fn opened(&self, path: &Path, most: u64) -> Result<GetResult, Rejection> {
        let mut extensions = Extensions::new();
        extensions.insert(MaxBytes(most));
        let options = GetOptions::default().with_extensions(extensions);
        let found = self.store.get_opts(path, options).await;
        let found = found.map_err(|error| rejection(&self.shown(path), &error))?;
        if found.meta.size > most {
            let place = self.shown(path);
            let why = format!("{place} has more than {most} bytes");
            return Err(Rejection::Unusable(why));
        }
        Ok(found)
    }

    /// An object, whole.
    pub(crate) async fn get(&self, path: &Path) -> Result<Vec<u8>, Rejection> {
        let found = self.opened(path, MAX_OBJECT_BYTES).await?;
        let bytes = found.bytes().await;
        let bytes = bytes.map_err(|error| rejection(&self.shown(path), &error))?;
        Ok(bytes.to_vec())
    }

    /// Whether there is an object.
    pub(crate) async fn has(&self, path: &Path) -> Result<bool, Rejection> {
        match self.store.head(path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(rejection(&self.shown(path), &error)),
        }
    }

    /// Puts a file of any length under a name that has its digest, unless one is there; answers the
    /// SHA-256 of what is there then.
    pub(crate) async fn put_file(&self, path: &Path, file: &mut File) -> Result<String, Rejection> {
        let failed = |error: Error| rejection(&self.shown(path), &error);
        let unread = |error: io::Error| Rejection::Unavailable(error.to_string());
        if !self.has(path).await? {
            let upload = self.store.put_multipart(path).await.map_err(failed)?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, CHUNK_BYTES);
            if let Err(rejected) = self.copy(path, file, &mut upload).await {
                // What was begun is left to the store if it cannot be reached.
                let _ = upload.abort().await;
                return Err(rejected);
            }
            upload.finish().await.map_err(failed)?;
        }
        let length = file.metadata().map_err(unread)?.len();
        let mut stream = self.opened(path, length).await?.into_stream();
        let mut hash = Sha256::new();
        while let Some(bytes) = stream.next().await {
            hash.update(bytes.map_err(failed)?);
        }
        Ok(crate::archived::hex(&hash.finalize()))
    }

    /// Hands over a file, with at most a few chunks under way.
    async fn copy(
        &self,
        path: &Path,
        file: &mut File,
        upload: &mut WriteMultipart,
    ) -> Result<(), Rejection> {
        let unread = |error: io::Error| Rejection::Unavailable(error.to_string());
        file.rewind().map_err(unread)?;
        let mut bytes = vec![0; CHUNK_BYTES];
        loop {
            let read = file.read(&mut bytes).map_err(unread)?;
            if read == 0 {
                return Ok(());
            }
            let room = upload.wait_for_capacity(2).await;
            room.map_err(|error| rejection(&self.shown(path), &error))?;
            upload.write(bytes.get(..read).unwrap_or_default());
        }
    }

    /// Puts an object where there is none, and reads it back. Whatever is there is left alone.
    pub(crate) async fn put_once(&self, path: &Path, bytes: &[u8]) -> Result<Put, Rejection> {
        self.create(path, bytes).await?;
        let found = self.get(path).await?;
        Ok(if found == bytes {
            Put::There
        } else {
            Put::Another(found)
        })
    }

    /// Creates an object; whether there was none.
    async fn create(&self, path: &Path, bytes: &[u8]) -> Result<bool, Rejection> {
        let payload = PutPayload::from(bytes.to_vec());
        let mut options = PutOptions::from(PutMode::Create);
        if self.bucket.is_some() {
            let digest = crate::archived::hex(&Sha256::digest(bytes));
            let name = Attribute::Metadata("sha256".into());
            options.attributes.insert(name, digest.into());
        }
        match self.store.put_opts(path, payload, options).await {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(rejection(&self.shown(path), &error)),
        }
    }

    /// Checks that a store refuses to create what is there: one that does not know `If-None-Match`
    /// (RFC 9110, section 13.1.2) takes it for a plain PUT, which overwrites.
    pub(crate) async fn check_create(&self, log: &str) -> Result<(), Rejection> {
        if self.bucket.is_none() {
            return Ok(());
        }
        let path = self.path(&[log, PROBE]);
        if self.create(&path, b"").await? && self.create(&path, b"").await? {
            return Err(Rejection::Unusable(format!(
                "{} creates what is there already, as if it knew no If-None-Match; what is archived there could be overwritten",
                self.url
            )));
        }
        Ok(())
    }
}

/// What an error of a store comes to.
fn rejection(place: &str, error: &Error) -> Rejection {
    let why = format!("{place}: {}", cause(error));
    match error {
        Error::Unauthenticated { .. } | Error::PermissionDenied { .. } => {
            Rejection::Unauthorised(why)
        }
        Error::NotImplemented { .. } | Error::NotSupported { .. } | Error::InvalidPath { .. } => {
            Rejection::Unusable(why)
        }
        _ => Rejection::Unavailable(why),
    }
}

/// The first cause of an error: the operating system, a connection, or a status. What else a library
/// says may quote the answer.
fn cause(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    let mut is_told = false;
    while let Some(source) = cause.source() {
        cause = source;
        is_told |= cause.is::<HttpError>() || cause.is::<io::Error>();
    }
    let said = cause.to_string();
    if let Some(status) = said.strip_prefix(STATUS) {
        return format!("it answered {}", status.trim_matches([':', ' ']));
    }
    if is_told {
        return said;
    }
    match error {
        Error::NotFound { .. } => "it is not there".to_owned(),
        _ => "what it answered cannot be understood".to_owned(),
    }
}
