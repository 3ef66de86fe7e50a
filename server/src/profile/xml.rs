//! XML as a tree of what it says.
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

#[derive(Debug, Clone)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Text(String),
    Elements(Vec<Element>),
}

/// An element with text.
pub(super) fn text(name: &'static str, text: impl ToString) -> Element {
    Element { name, attributes: Vec::new(), content: Content::Text(text.to_string()) }
}

/// An element with others in it, in this order.
pub(super) fn node(name: &'static str, elements: impl IntoIterator<Item = Element>) -> Element {
    Element { name, attributes: Vec::new(), content: Content::Elements(elements.into_iter().collect()) }
}

impl Element {
    pub(super) fn with(mut self, attribute: &'static str, value: &str) -> Self {
        self.attributes.push((attribute, value.to_owned()));
        self
    }

    /// The element of this name, in a namespace that its own elements share.
    pub(super) fn of(self, namespace: &str) -> Self {
        self.with("xmlns", namespace)
    }

    /// A document, indented.
    pub(super) fn document(&self) -> Result<String, String> {
        self.written(true)
    }

    /// The element alone.
    pub(super) fn fragment(&self) -> Result<String, String> {
        self.written(false)
    }

    fn written(&self, declared: bool) -> Result<String, String> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        let declaration = declared.then(|| Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)));
        let written = declaration.map_or(Ok(()), |event| writer.write_event(event)).and_then(|()| self.write(&mut writer));
        written.map_err(|error| error.to_string())?;
        String::from_utf8(writer.into_inner()).map_err(|error| error.to_string())
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let start = BytesStart::new(self.name).with_attributes(self.attributes.iter().map(|(name, value)| (*name, value.as_str())));
        match &self.content {
            Content::Text(text) => {
                writer.write_event(Event::Start(start))?;
                writer.write_event(Event::Text(BytesText::new(text)))?;
            }
            Content::Elements(elements) if elements.is_empty() => return writer.write_event(Event::Empty(start)),
            Content::Elements(elements) => {
                writer.write_event(Event::Start(start))?;
                elements.iter().try_for_each(|element| element.write(writer))?;
            }
        }
        writer.write_event(Event::End(BytesEnd::new(self.name)))
    }
}
