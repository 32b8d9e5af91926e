//! What was said in a turn.

use serde_json::value::RawValue;

use crate::events::Part;
use crate::json::{Object, array, string};
use crate::reject::RejectReason;

/// Content without calls and results of tools: a string, or a list of strings and blocks.
pub(crate) fn parts(content: &RawValue) -> Result<Vec<Part>, RejectReason> {
    let text = |text: std::borrow::Cow<'_, str>| Part::Text {
        text: text.into_owned(),
    };
    if let Some(said) = string(content) {
        return Ok(vec![text(said)]);
    }
    let mut parts = Vec::new();
    for block in array(content.get(), "content")? {
        parts.push(match string(block) {
            Some(said) => text(said),
            None => part(&Object::parse(block.get(), "content")?),
        });
    }
    Ok(parts)
}

/// A block of content as a part. Calls and results of tools are their format's to read.
pub(crate) fn part(block: &Object<'_>) -> Part {
    let kind = block.text("type").unwrap_or_default();
    let text = |name| block.text(name).map(String::from);
    let found = match kind.as_ref() {
        "text" | "input_text" | "output_text" => text("text").map(|text| Part::Text { text }),
        "thinking" => text("thinking").map(|text| Part::Thinking { text }),
        "reasoning" => text("reasoning").map(|text| Part::Thinking { text }),
        "image" => image(block),
        "image_url" => image_url(block),
        _ => None,
    };
    found.unwrap_or_else(|| Part::Other {
        name: kind.into_owned(),
    })
}

/// `{"source": {"type": "base64", "media_type": .., "data": ..}}`, `{"source": {"url": ..}}`,
/// `{"data": .., "mimeType": ..}` or `{"image": URL}`.
fn image(block: &Object<'_>) -> Option<Part> {
    if let (Some(mime), Some(data)) = (block.text("mimeType"), block.text("data")) {
        return Some(Part::Image {
            data: data.into_owned(),
            mime: mime.into_owned(),
        });
    }
    if let Some(url) = block.text("image") {
        return Some(by_url(&url));
    }
    let source = block.object("source").ok().flatten()?;
    if let Some(url) = source.text("url") {
        return Some(Part::uri(url));
    }
    let (mime, data) = (source.text("media_type")?, source.text("data")?);
    Some(Part::Image {
        data: data.into_owned(),
        mime: mime.into_owned(),
    })
}

/// `{"image_url": {"url": ..}}`.
fn image_url(block: &Object<'_>) -> Option<Part> {
    let inner = block.object("image_url").ok().flatten();
    let url = match &inner {
        Some(image) => image.text("url"),
        None => block.text("image_url"),
    }?;
    Some(by_url(&url))
}

/// An image by its URL, which may hold the image itself (RFC 2397).
fn by_url(url: &str) -> Part {
    let data = url
        .strip_prefix("data:")
        .and_then(|rest| rest.split_once(";base64,"));
    match data {
        Some((mime, data)) => Part::Image {
            data: data.to_owned(),
            mime: mime.to_owned(),
        },
        None => Part::uri(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Part {
        part(&Object::parse(json, "block").unwrap())
    }

    #[test]
    fn blocks_become_parts() {
        let text = |text: &str| Part::Text {
            text: text.to_owned(),
        };
        assert_eq!(read(r#"{"type":"text","text":"a\"b"}"#), text("a\"b"));
        assert_eq!(read(r#"{"type":"input_text","text":"x"}"#), text("x"));
        let thinking = Part::Thinking {
            text: "hm".to_owned(),
        };
        assert_eq!(
            read(r#"{"type":"thinking","thinking":"hm","signature":"s"}"#),
            thinking
        );
        let image = Part::Image {
            data: "AA==".to_owned(),
            mime: "image/png".to_owned(),
        };
        let base64 = r#"{"type":"base64","media_type":"image/png","data":"AA=="}"#;
        assert_eq!(
            read(&format!(r#"{{"type":"image","source":{base64}}}"#)),
            image
        );
        assert_eq!(
            read(r#"{"type":"image","data":"AA==","mimeType":"image/png"}"#),
            image
        );
        assert_eq!(
            read(r#"{"type":"image","image":"data:image/png;base64,AA=="}"#),
            image
        );
        assert_eq!(
            read(r#"{"type":"reasoning","reasoning":"hm"}"#),
            Part::Thinking {
                text: "hm".to_owned()
            }
        );
        let url = r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA=="}}"#;
        assert_eq!(read(url), image);
        let uri = Part::uri("https://example.com/x");
        assert_eq!(
            read(r#"{"type":"image_url","image_url":"https://example.com/x"}"#),
            uri
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let other = |name: &str| Part::Other {
            name: name.to_owned(),
        };
        assert_eq!(
            read(r#"{"type":"server_tool_use"}"#),
            other("server_tool_use")
        );
        assert_eq!(read(r#"{"type":"text","text":7}"#), other("text"));
        assert_eq!(read(r#"{"type":"image","source":{}}"#), other("image"));
        assert_eq!(read("{}"), other(""));
    }
}
