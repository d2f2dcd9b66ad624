package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// profileMax bounds the length of a profile.
const profileMax = 30 * time.Second

// profile takes processor profiles of the nodes and of this process while the load is measured. What fails is told and
// otherwise left out: a profile is not worth a run.
func (b *beside) profile() {
	c := b.run.config
	if c.ProfileDir == "" {
		return
	}
	if err := os.MkdirAll(c.ProfileDir, 0o755); err != nil {
		c.log("no profiles: %v", err)
		return
	}
	length := min(profileMax, c.Load.Duration)
	if c.Load.Duration == 0 {
		length = profileMax
	}
	length = max(length-500*time.Millisecond, time.Second).Truncate(time.Second)
	b.wait.Go(func() { tell(c, b.profileSelf(filepath.Join(c.ProfileDir, "generator.pprof"), length)) })
	if b.run.cluster == nil {
		return
	}
	for _, m := range b.run.cluster.Members() {
		if addr := m.Pprof(); addr != "" {
			file := filepath.Join(c.ProfileDir, fmt.Sprintf("node%d.pprof", m.Node()))
			b.wait.Go(func() { tell(c, profileNode(b.ctx, addr, file, length)) })
		}
	}
}

func tell(c *Config, err error) {
	if err != nil {
		c.log("profile: %v", err)
	}
}

func (b *beside) profileSelf(file string, length time.Duration) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	select {
	case <-time.After(length):
	case <-b.ctx.Done():
	}
	return nil
}

func profileNode(ctx context.Context, addr, file string, length time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, int(length.Seconds()))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, answer.Body)
	return err
}
