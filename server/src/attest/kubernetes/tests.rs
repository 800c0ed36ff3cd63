use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex as Lock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use tempfile::TempDir;

use super::*;
use crate::attest::tests::Hand;

const CART: &str = "0f6b1c6e-1111-2222-3333-444455556666";
const OTHER: &str = "0f6b1c6e-9999-2222-3333-444455556666";

/// A kubelet on loopback, with what it answers and what it was asked.
struct Server {
    address: std::net::SocketAddr,
    answer: Arc<Lock<String>>,
    asked: Arc<Lock<Vec<String>>>,
    count: Arc<AtomicUsize>,
}

impl Server {
    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let server = Self {
            address: listener.local_addr().expect("it is bound"),
            answer: Arc::default(),
            asked: Arc::default(),
            count: Arc::default(),
        };
        let (answer, asked, count) = (server.answer.clone(), server.asked.clone(), server.count.clone());
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().expect("nobody panicked").clone();
                let request = match tls.clone() {
                    None => converse(socket, &answer),
                    Some(tls) => converse_securely(socket, tls, &answer),
                };
                asked.lock().expect("nobody panicked").push(request.unwrap_or_default());
            }
        });
        server
    }

    fn answers(&self, status: &str, body: &str) {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
        *self.answer.lock().expect("nobody panicked") = text;
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

fn converse(mut stream: impl Read + Write, answer: &str) -> io::Result<String> {
    let mut request = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !request.ends_with("\r\n\r\n") && reader.read_line(&mut request)? > 0 {}
    stream.write_all(answer.as_bytes())?;
    stream.flush()?;
    Ok(request)
}

fn converse_securely(mut socket: TcpStream, tls: Arc<ServerConfig>, answer: &str) -> io::Result<String> {
    let mut connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    let request = converse(Stream::new(&mut connection, &mut socket), answer)?;
    connection.send_close_notify();
    connection.complete_io(&mut socket)?;
    Ok(request)
}

fn list(pods: &[(&str, &str, &str, &str)]) -> String {
    let item = |(uid, namespace, name, account): &(&str, &str, &str, &str)| {
        serde_json::json!({
            "metadata": { "uid": uid, "namespace": namespace, "name": name, "labels": { "x": "y" } },
            "spec": { "serviceAccountName": account, "containers": [] },
            "status": {},
        })
    };
    let items: Vec<_> = pods.iter().map(item).collect();
    serde_json::json!({ "kind": "PodList", "apiVersion": "v1", "items": items }).to_string()
}

fn of_kubelet(server: &Server, clock: &Arc<Hand>) -> Kubernetes {
    let url = format!("http://{}", server.address);
    let pods = PodSource::Kubelet { url, ca_file: None, token_file: None };
    Kubernetes::new(KubernetesSettings { pods }, clock.clone()).expect("it can be asked")
}

async fn texts(kubernetes: &Kubernetes, uid: &str) -> Vec<String> {
    let pod = kubernetes.pod(uid).await.unwrap_or_else(|problem| panic!("{problem}"));
    pod.iter().flat_map(|pod| pod.selectors().iter().map(ToString::to_string)).collect()
}

const OF_CART: [&str; 3] = ["k8s:ns:shop", "k8s:sa:cart", "k8s:pod-name:cart-1"];

#[tokio::test]
async fn a_pod_is_what_the_kubelet_says_and_it_is_asked_again_only_for_others() {
    let (server, clock) = (Server::start(None), Arc::new(Hand::default()));
    server.answers("200 OK", &list(&[(CART, "shop", "cart-1", "cart")]));
    let kubernetes = of_kubelet(&server, &clock);
    assert_eq!(texts(&kubernetes, CART).await, OF_CART);
    assert!(server.asked.lock().expect("nobody panicked").iter().all(|text| text.starts_with("GET /pods ")));
    clock.forward(FRESH - Duration::from_millis(1));
    assert_eq!(texts(&kubernetes, CART).await, OF_CART);
    assert_eq!(server.count(), 1);

    // One that it does not know yet is asked for once more.
    assert!(texts(&kubernetes, OTHER).await.is_empty());
    assert_eq!(server.count(), 2);
    server.answers("200 OK", &list(&[(OTHER, "shop", "o-1", "other")]));
    clock.forward(Duration::from_millis(1));
    assert_eq!(texts(&kubernetes, OTHER).await.len(), 3);
    assert_eq!(server.count(), 3);
    // And one that it has forgotten is forgotten.
    clock.forward(Duration::from_millis(1));
    assert!(texts(&kubernetes, CART).await.is_empty());
    clock.forward(FRESH);
    assert_eq!(texts(&kubernetes, OTHER).await.len(), 3);
    assert_eq!(server.count(), 5);
}

#[tokio::test]
async fn a_kubelet_that_fails_is_a_failure_and_no_pod() {
    let (server, clock) = (Server::start(None), Arc::new(Hand::default()));
    let kubernetes = of_kubelet(&server, &clock);
    let good = list(&[(CART, "shop", "cart-1", "cart")]);
    let other = Server::start(None);
    other.answers("200 OK", &good);
    let elsewhere = format!("302 Found\r\nlocation: http://{}/pods", other.address);
    for (status, body) in [
        ("500 Internal Server Error", &*good),
        ("401 Unauthorized", &good),
        ("204 No Content", ""),
        (&elsewhere, &good),
        ("200 OK", "no JSON"),
        ("200 OK", "{}"),
        ("200 OK", &good.replace("PodList", "SecretList")),
    ] {
        server.answers(status, body);
        clock.forward(FRESH);
        assert!(kubernetes.pod(CART).await.is_err(), "{status} {body}");
    }
    assert_eq!(other.count(), 0);
    // What was known does not outlive its time when the kubelet fails.
    server.answers("200 OK", &good);
    clock.forward(FRESH);
    assert_eq!(texts(&kubernetes, CART).await, OF_CART);
    server.answers("500 Internal Server Error", "");
    clock.forward(FRESH);
    assert!(kubernetes.pod(CART).await.is_err());
}

#[tokio::test]
async fn an_answer_without_end_is_read_no_further_than_a_list_may_be_long() {
    let (server, clock) = (Server::start(None), Arc::new(Hand::default()));
    server.answers("200 OK", &format!("{}{}", " ".repeat(MAX_LIST), list(&[])));
    let problem = of_kubelet(&server, &clock).pod(CART).await.expect_err("it is too long");
    assert!(problem.to_string().contains("larger"), "{problem}");
}

#[tokio::test]
async fn many_who_ask_at_once_share_few_answers() {
    let (server, clock) = (Server::start(None), Arc::new(Hand::default()));
    server.answers("200 OK", &list(&[(CART, "shop", "cart-1", "cart")]));
    let kubernetes = of_kubelet(&server, &clock);
    let all = futures_util::future::join_all((0..50).map(|_| kubernetes.pod(OTHER)));
    assert!(all.await.into_iter().all(|pod| pod.is_ok_and(|pod| pod.is_none())));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn a_kubelet_with_tls_is_asked_with_the_token_and_the_roots_of_now() {
    let directory = TempDir::new().expect("there is room");
    let key = rcgen::KeyPair::generate().expect("there is randomness");
    let parameters = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("it is a name");
    let certificate = parameters.self_signed(&key).expect("it can be signed");
    let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).expect("it is a key"),
        );
    let server = Server::start(Some(Arc::new(tls.expect("it fits"))));
    server.answers("200 OK", &list(&[(CART, "shop", "cart-1", "cart")]));
    let (ca_file, token_file) = (directory.path().join("ca.pem"), directory.path().join("token"));
    let pods = PodSource::Kubelet {
        url: format!("https://{}", server.address),
        ca_file: Some(ca_file.clone()),
        token_file: Some(token_file.clone()),
    };
    let clock = Arc::new(Hand::default());
    let kubernetes = Kubernetes::new(KubernetesSettings { pods }, clock.clone()).expect("it can be asked");

    fs::write(&ca_file, certificate.pem()).expect("there is room");
    for token in ["", " \n", "a\nb", "\u{7f}"] {
        fs::write(&token_file, token).expect("there is room");
        assert!(kubernetes.pod(CART).await.is_err(), "{token:?}");
        clock.forward(Duration::from_millis(1));
    }
    assert_eq!(server.count(), 0);
    for token in ["first", "second"] {
        fs::write(&token_file, format!("{token}\n")).expect("there is room");
        assert_eq!(texts(&kubernetes, CART).await, OF_CART);
        clock.forward(FRESH);
        // It is noted after it has been answered.
        while server.asked.lock().expect("nobody panicked").len() < server.count() {
            tokio::task::yield_now().await;
        }
        let asked = server.asked.lock().expect("nobody panicked").last().cloned().unwrap_or_default();
        assert!(asked.contains(&format!("authorization: Bearer {token}\r\n")), "{asked}");
    }

    let stranger = rcgen::KeyPair::generate().expect("there is randomness");
    let stranger = rcgen::CertificateParams::new(["127.0.0.1".to_owned()])
        .and_then(|parameters| parameters.self_signed(&stranger))
        .expect("it can be signed");
    for roots in [&*stranger.pem(), "", "no PEM"] {
        fs::write(&ca_file, roots).expect("there is room");
        clock.forward(FRESH);
        assert!(kubernetes.pod(CART).await.is_err(), "{roots}");
    }
}

#[test]
fn a_kubelet_that_could_be_anybody_is_refused() {
    let file = || Some(PathBuf::from("/file"));
    for (url, ca_file, token_file) in [
        ("http://127.0.0.1:10255", file(), None),
        ("http://127.0.0.1:10255", None, file()),
        ("http://10.0.0.1:10255", None, None),
        ("http://localhost:10255", None, None),
        ("http://127.0.0.1.example.com", None, None),
        ("https://127.0.0.1:10250", None, file()),
        ("https://127.0.0.1:10250/api", file(), None),
        ("https://127.0.0.1:10250?x", file(), None),
        ("https://user:password@127.0.0.1:10250", file(), None),
        ("file:///pods", file(), None),
        ("127.0.0.1:10250", file(), None),
        ("", file(), None),
    ] {
        let problem = Kubelet::new(url, ca_file, token_file).err().expect(url);
        assert!(matches!(problem, KubernetesProblem::Url { .. }), "{problem}");
    }
    for (url, ca_file) in
        [("http://127.0.0.1:10255/", None), ("http://[::1]:10255", None), ("https://k", file())]
    {
        assert!(Kubelet::new(url, ca_file, None).is_ok(), "{url}");
    }
}

#[tokio::test]
async fn a_file_of_pods_is_read_again_when_it_changes() {
    let directory = TempDir::new().expect("there is room");
    let path = directory.path().join("pods.json");
    let write = |text: &str| {
        let new = directory.path().join("new");
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).expect("there is room");
    };
    let settings = KubernetesSettings { pods: PodSource::File(path.clone()) };
    let kubernetes = Kubernetes::new(settings, Arc::new(Hand::default())).expect("it can be read");
    assert!(kubernetes.pod(CART).await.is_err());
    write(&list(&[(CART, "shop", "cart-1", "cart")]));
    assert_eq!(texts(&kubernetes, CART).await, OF_CART);
    assert_eq!(texts(&kubernetes, CART).await, OF_CART);
    assert!(texts(&kubernetes, OTHER).await.is_empty());
    write(&list(&[(CART, "shop", "cart-1", "else")]).replace("PodList", "List"));
    assert_eq!(texts(&kubernetes, CART).await[1], "k8s:sa:else");
    for text in ["", "{", &list(&[]).replace("items", "things"), &" ".repeat(MAX_LIST + 1)] {
        write(text);
        assert!(kubernetes.pod(CART).await.is_err(), "{text:.20}");
    }
    fs::remove_file(&path).expect("it is ours");
    assert!(kubernetes.pod(CART).await.is_err());
}

#[test]
fn a_hostile_list_says_nothing() {
    let good = list(&[(CART, "shop", "cart-1", "cart"), (OTHER, "shop", "o-1", "")]);
    assert_eq!(parse(good.as_bytes()).expect("it is a list").len(), 2);
    let twice = list(&[(CART, "shop", "cart-1", "cart"), (CART, "shop", "cart-1", "admin")]);
    let deep = format!("{{\"kind\":\"PodList\",\"items\":[],\"x\":{}", "[".repeat(100_000));
    for text in [
        &*twice,
        &deep,
        "[]",
        "null",
        "{\"kind\":\"PodList\"}",
        "{\"kind\":\"PodList\",\"items\":null}",
        "{\"kind\":\"PodList\",\"items\":[{}]}",
        "{\"kind\":\"PodList\",\"items\":[null]}",
        "{\"items\":[]}",
        &good.replace("\"shop\"", "7"),
        &good.replace("\"shop\"", "\"Shop\""),
        &good.replace("\"shop\"", "\"shop\\nk8s:sa:admin\""),
        &good.replace("\"cart-1\"", "\"../cart\""),
        &good.replace(CART, ""),
        &good.replace(CART, &"a".repeat(64)),
        &format!("{good}{good}"),
    ] {
        assert!(parse(text.as_bytes()).is_err(), "{text:.200}");
    }
    assert!(parse(&[0xff, 0xfe]).is_err());
}
