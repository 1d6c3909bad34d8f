package bus

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ServerConfig says how the embedded server runs.
type ServerConfig struct {
	// StoreDir keeps streams and credentials; it is made where absent. One server at a time.
	StoreDir string
	// Host to listen on, a loopback address: 127.0.0.1 where empty. Whoever can publish a task can run SQL, so other
	// machines are served by a NATS server of one's own, with TLS.
	Host string
	// Port to listen on: 0 is 4222, -1 any free one.
	Port int
	// SyncAlways flushes each write to disk before it is acknowledged: nothing acknowledged is lost in a power cut, at a
	// fifth of the rate. Without it the last SyncInterval may be; a killed process loses nothing either way.
	SyncAlways bool
	// SyncInterval is how often writes are flushed without SyncAlways; 0 is DefaultSyncInterval.
	SyncInterval time.Duration
	// InProcessOnly listens on no socket.
	InProcessOnly bool
}

// DefaultSyncInterval bounds what a power cut can lose where writes are not flushed one by one.
const DefaultSyncInterval = 10 * time.Second

// serverStart is how long the server may take to recover its streams and listen.
const serverStart = 2 * time.Minute

// unlimitedStore is more than any disk holds.
const unlimitedStore = 1 << 60

// Server is an embedded NATS server with JetStream.
type Server struct {
	options     *server.Options
	log         serverLog
	credentials string
	unlock      func()
	close       sync.Once
	stopKeeping context.CancelFunc
	kept        chan struct{}

	mu     sync.Mutex
	server *server.Server // another one after each restart
}

// login is what the embedded server's credentials file holds.
type login struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// StartServer starts a server and waits until it can be used.
func StartServer(ctx context.Context, c ServerConfig) (*Server, error) {
	host := c.Host
	if host == "" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("the embedded NATS server listens on loopback only, not on %q: "+
			"for workers on other machines run a NATS server with TLS and give its URL", host)
	}
	if err := os.MkdirAll(c.StoreDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the NATS server: %w", err)
	}
	unlock, err := lockFolder(c.StoreDir)
	if err != nil {
		return nil, fmt.Errorf("lock %s for the NATS server: %w: another shoplake uses this data folder, stop it first", c.StoreDir, err)
	}
	s, err := startServer(ctx, c, host)
	if err != nil {
		unlock()
		return nil, err
	}
	s.unlock = unlock
	keeping, stop := context.WithCancel(context.Background())
	s.stopKeeping, s.kept = stop, make(chan struct{})
	go s.keep(keeping)
	return s, nil
}

func startServer(ctx context.Context, c ServerConfig, host string) (*Server, error) {
	file := filepath.Join(c.StoreDir, "coordinator.json")
	coordinator, err := ensureLogin(file, "coordinator")
	if err != nil {
		return nil, err
	}
	workerFile := filepath.Join(c.StoreDir, "worker.json")
	worker, err := ensureLogin(workerFile, "worker")
	if err != nil {
		return nil, err
	}
	interval := c.SyncInterval
	if interval == 0 {
		interval = DefaultSyncInterval
	}
	s := &Server{credentials: file, log: serverLog{fatal: make(chan string, 1), stuck: make(chan string, 1)}, options: &server.Options{
		ServerName: "shoplake",
		Host:       host,
		Port:       c.Port,
		DontListen: c.InProcessOnly,
		NoSigs:     true,
		MaxPayload: MaxPayload,
		JetStream:  true,
		StoreDir:   c.StoreDir,
		// The disk is the limit. By default it would be measured once, at the start: a disk that is full then would be so for ever.
		JetStreamMaxStore:      unlimitedStore,
		SyncAlways:             c.SyncAlways,
		SyncInterval:           interval,
		DisableJetStreamBanner: true,
		Users: []*server.User{
			{Username: coordinator.User, Password: coordinator.Password},
			{Username: worker.User, Password: worker.Password, Permissions: workerPermissions()},
		},
	}}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// start starts the server, and waits until it can be used.
func (s *Server) start(ctx context.Context) error {
	o := s.options
	ns, err := server.NewServer(o.Clone())
	if err != nil {
		return fmt.Errorf("set up the embedded NATS server in %s: %w", o.StoreDir, err)
	}
	ns.SetLogger(s.log, false, false)
	s.mu.Lock()
	s.server = ns
	s.mu.Unlock()
	go ns.Start()
	for deadline := time.Now().Add(serverStart); !ns.ReadyForConnections(100 * time.Millisecond); {
		var why error
		select {
		case fatal := <-s.log.fatal:
			why = errors.New(fatal)
		case <-ctx.Done():
			why = ctx.Err()
		default:
			if time.Now().After(deadline) {
				why = fmt.Errorf("not ready after %v", serverStart)
			}
		}
		if why != nil {
			s.stop()
			return fmt.Errorf("start the embedded NATS server on %s port %d in %s: %w: check that the port is free and the folder can be written",
				o.Host, o.Port, o.StoreDir, why)
		}
	}
	if !ns.JetStreamEnabled() {
		s.stop()
		return fmt.Errorf("start the embedded NATS server in %s: JetStream is not available: check that the disk has room and can be written", o.StoreDir)
	}
	if !o.DontListen {
		o.Port = s.port() // clients find it there again after a restart
	}
	return nil
}

func (s *Server) running() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// InProcessConn connects a client of this process.
func (s *Server) InProcessConn() (net.Conn, error) { return s.running().InProcessConn() }

// URL is where other processes reach the server; it holds no credentials.
func (s *Server) URL() string { return s.running().ClientURL() }

func (s *Server) port() int { return s.running().Addr().(*net.TCPAddr).Port }

// CredentialsFile is the file, readable by its owner only, that lets another process of the same user in with all rights.
func (s *Server) CredentialsFile() string { return s.credentials }

// WorkerCredentialsFile lets a process in with a worker's rights: it cannot publish tasks, write run logs or take the lease.
func (s *Server) WorkerCredentialsFile() string {
	return filepath.Join(filepath.Dir(s.credentials), "worker.json")
}

// Close stops the server, when everything that it acknowledged is written.
func (s *Server) Close() {
	s.close.Do(func() {
		s.stopKeeping()
		<-s.kept
		s.stop()
		s.unlock()
	})
}

func (s *Server) stop() {
	ns := s.running()
	ns.Shutdown()
	ns.WaitForShutdown()
}

// ensureLogin reads a credentials file or makes one with a random password.
func ensureLogin(file, user string) (login, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		var l login
		if err := json.Unmarshal(data, &l); err != nil || l.User == "" || l.Password == "" {
			return login{}, fmt.Errorf("read the NATS credentials in %s: no user and password there: remove the file, a new one is made", file)
		}
		return l, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return login{}, fmt.Errorf("read the NATS credentials: %w", err)
	}
	l := login{User: user, Password: rand.Text() + rand.Text()}
	data, err = json.Marshal(l)
	if err != nil {
		return login{}, fmt.Errorf("encode the NATS credentials: %w", err)
	}
	// A reader sees the whole file or none.
	temp, err := os.CreateTemp(filepath.Dir(file), ".credentials-*")
	if err != nil {
		return login{}, fmt.Errorf("write the NATS credentials: %w", err)
	}
	defer os.Remove(temp.Name())
	_, err = temp.Write(append(data, '\n'))
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return login{}, fmt.Errorf("write the NATS credentials to %s: %w", file, err)
	}
	return l, nil
}

// Credentials reads a credentials file of either kind.
func Credentials(file string) (nats.Option, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the NATS credentials: %w: give the file that the server wrote, or a .creds file", err)
	}
	var l login
	if json.Unmarshal(data, &l) == nil && l.User != "" {
		return nats.UserInfo(l.User, l.Password), nil
	}
	return nats.UserCredentials(file), nil
}

// serverLog sends the server's log to ours, what is not worth a warning left out.
type serverLog struct {
	// fatal gets the first reason for which the server cannot run; a server of its own process would exit.
	fatal chan string
	// stuck gets what the server could not write.
	stuck chan string
}

func (serverLog) Noticef(format string, v ...any) {
	slog.Debug(fmt.Sprintf(format, v...), "from", "nats-server")
}
func (serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords detected") {
		// It means passwords in a configuration file of the server's. Ours are random, and in memory only.
		return
	}
	slog.Warn(fmt.Sprintf(format, v...), "from", "nats-server")
}
func (l serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	slog.Error(text, "from", "nats-server")
	if isStuck(text) {
		select {
		case l.stuck <- text:
		default:
		}
	}
}
func (l serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
		slog.Error(fmt.Sprintf(format, v...), "from", "nats-server")
	}
}
func (serverLog) Debugf(string, ...any) {}
func (serverLog) Tracef(string, ...any) {}
