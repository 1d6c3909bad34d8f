//go:build unix

package chaos

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy is the way of one process to NATS, which can be cut and healed.
type proxy struct {
	listener net.Listener
	target   string

	mu      sync.Mutex
	changed chan struct{} // closed when the state changes
	stalled bool
	refused bool
	conns   map[net.Conn]bool
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		p.heal(false)
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

// cut closes the connections and refuses new ones; with stall it says nothing: bytes stay where they are.
func (p *proxy) cut(stall bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stall {
		p.set(true, false)
		return
	}
	p.set(false, true)
	p.drop()
}

// heal lets connections through again. Those that were stalled go on, with what was held back, where resume is set, and are
// closed otherwise.
func (p *proxy) heal(resume bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !resume {
		p.drop()
	}
	p.set(false, false)
}

func (p *proxy) set(stalled, refused bool) {
	p.stalled, p.refused = stalled, refused
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *proxy) drop() {
	for conn := range p.conns {
		conn.Close()
		delete(p.conns, conn)
	}
}

// add takes a connection in; false where connections are refused now.
func (p *proxy) add(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refused {
		conn.Close()
		return false
	}
	p.conns[conn] = true
	return true
}

// pass waits while the way is stalled; false where the connection was closed meanwhile.
func (p *proxy) pass(conn net.Conn) bool {
	for {
		p.mu.Lock()
		stalled, changed, open := p.stalled, p.changed, p.conns[conn]
		p.mu.Unlock()
		if !open || !stalled {
			return open
		}
		<-changed
	}
}

func (p *proxy) serve(conn net.Conn) {
	defer p.close(conn)
	if !p.add(conn) || !p.pass(conn) {
		return
	}
	up, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.close(up)
	if !p.add(up) {
		return
	}
	go func() {
		p.copy(conn, up)
		p.close(conn)
	}()
	p.copy(up, conn)
}

func (p *proxy) close(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	conn.Close()
	delete(p.conns, conn)
}

func (p *proxy) copy(to io.Writer, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.pass(from) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
