"""An HTTP server on loopback that takes what sinks post, checks it with libraries that nobody here
wrote, and keeps it.

    receiver.py webhook|otlp OUT BEHAVIOUR [--secret SECRET] [--authorization VALUE] [--tls FOLDER]

OUT gets a line of JSON for each request: its status and what was in it. BEHAVIOUR is a file of JSON,
read at each request; without it everything is taken:

    {"status": 429}            answers so, and keeps nothing
    {"fail_third": true}       answers every third request with 500, after it was kept
    {"most": 1}                answers 413 if there are more events
    {"refuse": [7]}            answers 422 if one of these is among them
    {"reject": [7]}            keeps all but these, and says so as OTLP does
    {"html": true}             answers 200 with a page
    {"hang": true}             never answers
    {"location": "https://x"}  answers with it

The first line of its output is its URL. It ends with its standard input.
"""

import argparse
import datetime
import ipaddress
import json
import os
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Bad(Exception):
    """What was posted is not what it should be; the status says how."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


def webhook(options, headers, body):
    """The events of a webhook: positions, and what is kept of them."""
    from cloudevents.core.formats.json import JSONFormat
    from cloudevents.core.v1.event import CloudEvent
    from standardwebhooks import Webhook, WebhookVerificationError

    if options.secret:
        try:
            Webhook(options.secret).verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            raise Bad(401, str(error)) from error
    content_type = headers["Content-Type"].split(";")[0]
    if content_type == "application/cloudevents-batch+json":
        texts = [json.dumps(event) for event in json.loads(body)]
    elif content_type == "application/cloudevents+json":
        texts = [body]
    else:
        raise Bad(415, content_type)
    kept = []
    for text in texts:
        event = JSONFormat().read(CloudEvent, text)
        attributes = {name: str(value) for name, value in event.get_attributes().items()}
        for name, value in json.loads(text).items():
            is_fine = isinstance(value, (str, bool)) or name == "data"
            if not is_fine or len(name) > 20:
                raise Bad(400, f"{name} cannot be so")
        position = int(event.get_extension("sequence"))
        kept.append((position, {"attributes": attributes, "data": event.get_data()}))
    about = {"id": headers["webhook-id"], "type": content_type}
    return about, kept


def plain(value):
    """A value of OTLP as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, kind)


def pairs(attributes):
    """Attributes as Python has them; no name comes twice."""
    names = [each.key for each in attributes]
    if len(names) != len(set(names)):
        raise Bad(400, f"a name comes twice: {names}")
    return {each.key: plain(each.value) for each in attributes}


def otlp(options, headers, body):
    """The spans and log records of a request: positions, and what is kept of them."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber
    from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

    if headers["Content-Type"] != "application/x-protobuf":
        raise Bad(415, headers["Content-Type"])
    kept = []

    def keep(record, about):
        attributes = pairs(record.attributes)
        if attributes.get("runstone.duplicate"):
            attributes["duplicate"] = "True"
        about["trace"] = record.trace_id.hex()
        about["span"] = record.span_id.hex()
        if len(record.trace_id) != 16 or not any(record.trace_id):
            raise Bad(400, "this is no id of a trace")
        kept.append((attributes["runstone.position"], {"attributes": attributes, **about}))

    if options.path.endswith("/v1/traces"):
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    if len(span.span_id) != 8 or not span.name:
                        raise Bad(400, "this is no span")
                    if span.end_time_unix_nano < span.start_time_unix_nano:
                        raise Bad(400, "it ends before it begins")
                    about = {
                        "name": span.name,
                        "kind": Span.SpanKind.Name(span.kind),
                        "parent": span.parent_span_id.hex(),
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "status": Status.StatusCode.Name(span.status.code),
                        "message": span.status.message,
                        "links": [[link.trace_id.hex(), link.span_id.hex()] for link in span.links],
                    }
                    keep(span, about)
        resources = request.resource_spans
    elif options.path.endswith("/v1/logs"):
        request = ExportLogsServiceRequest.FromString(body)
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    if record.severity_number == SeverityNumber.SEVERITY_NUMBER_UNSPECIFIED:
                        raise Bad(400, "it has no severity")
                    about = {"event": record.event_name, "time": record.time_unix_nano}
                    keep(record, about)
        resources = request.resource_logs
    else:
        raise Bad(404, options.path)
    return {"path": options.path, "resource": pairs(resources[0].resource.attributes)}, kept


def answer_of(options, rejected):
    """The body of an answer: one that no sink may keep."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    if options.kind != "otlp":
        return b"the-planted-answer"
    traces = options.path.endswith("/v1/traces")
    answer = ExportTraceServiceResponse() if traces else ExportLogsServiceResponse()
    if rejected:
        partial = answer.partial_success
        partial.error_message = "the-planted-answer"
        setattr(partial, "rejected_spans" if traces else "rejected_log_records", rejected)
    return answer.SerializeToString()


KINDS = {"otlp": otlp, "webhook": webhook}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0
    lock = threading.Lock()

    def log_message(self, *_):
        pass

    def do_POST(self):
        options = self.server.options
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Handler.lock:
            Handler.count += 1
            options.path = self.path
            behaviour = {}
            if os.path.exists(options.behaviour):
                behaviour = json.loads(Path(options.behaviour).read_text())
            status, line = self.look(options, behaviour, body)
            answer = answer_of(options, line.pop("rejected", 0))
            line = {"status": status, **line}
            with open(options.out, "a", encoding="utf-8") as out:
                out.write(json.dumps(line) + "\n")
        if behaviour.get("hang"):
            threading.Event().wait()
        self.send_response(status)
        if "location" in behaviour:
            self.send_header("Location", behaviour["location"])
        if behaviour.get("html"):
            answer = b"<html>the-planted-answer</html>"
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def look(self, options, behaviour, body):
        if behaviour.get("html"):
            return 200, {"events": []}
        if "status" in behaviour or behaviour.get("hang"):
            return behaviour.get("status", 0), {"events": []}
        if options.authorization and self.headers["Authorization"] != options.authorization:
            return 401, {"events": []}
        try:
            about, kept = KINDS[options.kind](options, self.headers, body)
        except Bad as bad:
            return bad.status, {"events": [], "why": str(bad)}
        except Exception as error:  # whatever a library does not take
            return 400, {"events": [], "why": repr(error)}
        if len(kept) > behaviour.get("most", len(kept)):
            return 413, {"events": []}
        if any(position in behaviour.get("refuse", []) for position, _ in kept):
            return 422, {"events": []}
        every = len(kept)
        kept = [each for each in kept if each[0] not in behaviour.get("reject", [])]
        status = 500 if behaviour.get("fail_third") and Handler.count % 3 == 0 else 200
        events = [{"position": position, **event} for position, event in kept]
        return status, {**about, "events": events, "rejected": every - len(kept)}


def tls(folder):
    """A certificate for 127.0.0.1 of an authority made here; ca.pem in the folder is the authority's."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, key, issuer, signer, is_authority):
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer))
        made = made.public_key(key.public_key()).serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - day).not_valid_after(now + day)
        basic = x509.BasicConstraints(ca=is_authority, path_length=None)
        made = made.add_extension(basic, critical=True)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = made.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    folder = Path(folder)
    ca = certificate("authority", authority, "authority", authority, True)
    (folder / "ca.pem").write_bytes(ca)
    own = certificate("receiver", key, "authority", authority, False)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "own.pem").write_bytes(own + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem")
    return context


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("out")
    parser.add_argument("behaviour")
    parser.add_argument("--secret")
    parser.add_argument("--authorization")
    parser.add_argument("--tls")
    options = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.options = options
    scheme = "http"
    if options.tls:
        server.socket = tls(options.tls).wrap_socket(server.socket, server_side=True)
        scheme = "https"
    print(f"{scheme}://127.0.0.1:{server.server_address[1]}/in", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
