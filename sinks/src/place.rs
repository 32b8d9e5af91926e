//! A folder or an object store, in which nothing is ever overwritten.

use crate::config::S3Config;
use crate::kinds::http;
use crate::secret::SecretSource;
use crate::sink::Rejection;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::client::{HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    PutPayload, RetryConfig, WriteMultipart,
};
use reqwest::Url;
use runstone_store::MAX_SEGMENT_BYTES;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::StreamExt as _;

/// Largest object that is read: the largest segment in base64.
const MAX_OBJECT_BYTES: u64 = MAX_SEGMENT_BYTES / 3 * 4 + (64 << 20);
/// Time in which a request is tried once more. What fails then is tried again as all sinks are.
const RETRY_TIME: Duration = Duration::from_secs(5);
/// Bytes that are handed over at once.
const CHUNK_BYTES: usize = 8 << 20;
/// Most objects that are listed.
const MAX_OBJECTS: usize = 4_000_000;

/// What is wrong with the name of a place.
pub(crate) fn check(url: &str) -> Result<(), String> {
    Address::of(url).map(|_| ())
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
            .map_err(|error| format!("`{url}` cannot be a URL: {error}"))?;
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err("the URL of an archive has no question mark and no number sign".to_owned());
        }
        match parsed.scheme() {
            "file" => match parsed.to_file_path() {
                Ok(path) if path.file_name().is_some() => Ok(Self::Folder(path)),
                _ => Err(format!(
                    "`{url}` is no folder, named from the root of the file system"
                )),
            },
            "s3" => Self::bucket(&parsed),
            _ => Err(format!("`{url}` begins neither with file:/// nor s3://")),
        }
    }
}

/// Speaks HTTP as all sinks do.
#[derive(Debug)]
struct Connector(reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.0.clone()))
    }
}

fn text_of(source: Option<&SecretSource>) -> Result<Option<String>, Rejection> {
    let Some(source) = source else {
        return Ok(None);
    };
    let secret = source.read()?;
    let text = std::str::from_utf8(secret.bytes());
    let text = text.map_err(|_| Rejection::Unavailable(format!("{source} is no text")))?;
    Ok(Some(text.to_owned()))
}

/// What has a value, set.
fn with(
    builder: AmazonS3Builder,
    values: impl IntoIterator<Item = (AmazonS3ConfigKey, Option<String>)>,
) -> AmazonS3Builder {
    let values = values
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    values.fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    })
}

/// A bucket, with what the environment and the configuration say of it.
fn s3(bucket: &str, config: &S3Config) -> Result<AmazonS3, Rejection> {
    let mut builder = AmazonS3Builder::from_env();
    if config.access_key.is_some() {
        // Nothing of other credentials goes with these.
        let around = [
            AmazonS3ConfigKey::Region,
            AmazonS3ConfigKey::DefaultRegion,
            AmazonS3ConfigKey::Endpoint,
            AmazonS3ConfigKey::S3Endpoint,
            AmazonS3ConfigKey::VirtualHostedStyleRequest,
        ];
        let around = around.map(|key| (key, builder.get_config_value(&key)));
        let named = [
            (AmazonS3ConfigKey::AccessKeyId, &config.access_key),
            (AmazonS3ConfigKey::SecretAccessKey, &config.secret_key),
            (AmazonS3ConfigKey::Token, &config.session_token),
        ];
        builder = with(AmazonS3Builder::new(), around);
        for (key, source) in named {
            builder = with(builder, [(key, text_of(source.as_ref())?)]);
        }
    }
    let given = [
        (AmazonS3ConfigKey::Region, config.region.clone()),
        (AmazonS3ConfigKey::Endpoint, config.endpoint.clone()),
        (AmazonS3ConfigKey::S3Endpoint, config.endpoint.clone()),
    ];
    builder = with(builder, given).with_bucket_name(bucket);
    for key in [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint] {
        let endpoint = builder.get_config_value(&key);
        if let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.is_empty()) {
            let checked = config.check_endpoint(&endpoint);
            checked.map_err(Rejection::Unusable)?;
        }
    }
    let retry = RetryConfig {
        max_retries: 1,
        retry_timeout: RETRY_TIME,
        ..RetryConfig::default()
    };
    let built = builder
        .with_http_connector(Connector(http::client(config.ca.as_deref())?))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_allow_http(true)
        .with_retry(retry)
        .build();
    built.map_err(|error| rejection(bucket, &error))
}

/// A folder or an object store.
#[derive(Debug)]
pub(crate) struct Place {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// Whether objects have attributes.
    has_attributes: bool,
    /// As people say it.
    url: String,
}

/// An object, and how many bytes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: Path,
    pub(crate) bytes: u64,
}

impl Place {
    /// A place that is there, or a folder that is made if `makes` says so.
    pub(crate) fn open(url: &str, config: &S3Config, makes: bool) -> Result<Self, Rejection> {
        let shown = url.trim_end_matches('/').to_owned();
        let folder = match Address::of(url).map_err(Rejection::Unusable)? {
            Address::Folder(folder) => folder,
            Address::Bucket { name, prefix } => {
                return Ok(Self {
                    store: Arc::new(s3(&name, config)?),
                    prefix,
                    has_attributes: true,
                    url: shown,
                });
            }
        };
        if makes {
            let made = DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder);
            made.map_err(|error| Rejection::Unavailable(format!("{url}: {error}")))?;
        }
        let store = LocalFileSystem::new_with_prefix(&folder)
            .map_err(|error| rejection(url, &error))?
            .with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            prefix: Path::default(),
            has_attributes: false,
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

    /// Every object under a name, in the order of their names.
    pub(crate) async fn list(&self, under: &Path) -> Result<Vec<Listed>, Rejection> {
        let mut objects = self.store.list(Some(under));
        let mut found = Vec::new();
        while let Some(object) = objects.next().await {
            let object = object.map_err(|error| rejection(&self.url, &error))?;
            if found.len() == MAX_OBJECTS {
                let why = format!("{} has more than {MAX_OBJECTS} objects", self.shown(under));
                return Err(Rejection::Unusable(why));
            }
            found.push(Listed {
                path: object.location,
                bytes: object.size,
            });
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// An object, whole.
    pub(crate) async fn get(&self, path: &Path) -> Result<Vec<u8>, Rejection> {
        let failed = |error: Error| rejection(&self.shown(path), &error);
        let found = self.store.get(path).await.map_err(failed)?;
        if found.meta.size > MAX_OBJECT_BYTES {
            let why = format!(
                "{} has more than {MAX_OBJECT_BYTES} bytes",
                self.shown(path)
            );
            return Err(Rejection::Unusable(why));
        }
        Ok(found.bytes().await.map_err(failed)?.to_vec())
    }

    /// Puts a file of any length under a name that has its digest, unless one is there; answers the
    /// SHA-256 of what is there then.
    pub(crate) async fn put_file(
        &self,
        path: &Path,
        file: &std::path::Path,
    ) -> Result<String, Rejection> {
        let failed = |error: Error| rejection(&self.shown(path), &error);
        match self.store.head(path).await {
            Ok(_) => {}
            Err(Error::NotFound { .. }) => {
                let upload = self.store.put_multipart(path).await.map_err(failed)?;
                let mut upload = WriteMultipart::new_with_chunk_size(upload, CHUNK_BYTES);
                let copied = copy(file, &mut upload).await;
                if let Err(error) = copied {
                    // What was begun is left to the store if it cannot be reached.
                    let _ = upload.abort().await;
                    return Err(Rejection::Unavailable(format!(
                        "{}: {error}",
                        file.display()
                    )));
                }
                upload.finish().await.map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let mut stream = self.store.get(path).await.map_err(failed)?.into_stream();
        let mut hash = Sha256::new();
        while let Some(bytes) = stream.next().await {
            hash.update(bytes.map_err(failed)?);
        }
        Ok(crate::archived::hex(&hash.finalize()))
    }

    /// Puts an object where there is none, and reads it back. One of the same bytes may be there;
    /// another one is left alone.
    pub(crate) async fn put_once(&self, path: &Path, bytes: &[u8]) -> Result<(), Rejection> {
        let payload = PutPayload::from(bytes.to_vec());
        let mut options = PutOptions::from(PutMode::Create);
        if self.has_attributes {
            let digest = crate::archived::hex(&Sha256::digest(bytes));
            let name = Attribute::Metadata("sha256".into());
            options.attributes.insert(name, digest.into());
        }
        match self.store.put_opts(path, payload, options).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(rejection(&self.shown(path), &error)),
        }
        if self.get(path).await? == bytes {
            return Ok(());
        }
        Err(Rejection::Unusable(format!(
            "{} is there, and is another one; nothing was overwritten. Somebody else writes there, or changed it",
            self.shown(path)
        )))
    }
}

/// Hands over a file, with at most a few chunks under way.
async fn copy(file: &std::path::Path, upload: &mut WriteMultipart) -> io::Result<()> {
    let mut file = File::open(file)?;
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        upload
            .wait_for_capacity(2)
            .await
            .map_err(io::Error::other)?;
        upload.write(bytes.get(..read).unwrap_or_default());
    }
}

/// What an error of a store comes to.
fn rejection(place: &str, error: &Error) -> Rejection {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let why = format!("{place}: {cause}");
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
