//! A bucket, with what the environment and the configuration say of it.

use super::limited::Limited;
use crate::config::S3Config;
use crate::kinds::http;
use crate::secret::SecretSource;
use crate::sink::Rejection;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use std::time::Duration;

/// Time in which a request is tried once more. What fails then is tried again as all sinks are.
const RETRY_TIME: Duration = Duration::from_secs(5);

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

/// Opens it.
pub(super) fn open(bucket: &str, config: &S3Config) -> Result<AmazonS3, Rejection> {
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
        .with_http_connector(Limited(http::client(config.ca.as_deref())?))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_allow_http(true)
        .with_retry(retry)
        .build();
    built.map_err(|error| Rejection::Unavailable(format!("{bucket}: {error}")))
}
