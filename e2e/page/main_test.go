//go:build unix

package page

import (
	"os"
	"testing"

	"github.com/shoplake/shoplake/e2e/deploy"
)

func TestMain(m *testing.M) {
	code := m.Run()
	deploy.Clean()
	os.Exit(code)
}
