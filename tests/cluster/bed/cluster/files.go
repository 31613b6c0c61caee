package cluster

import (
	_ "embed"
	"fmt"
	"os"
)

var (
	//go:embed files/audit-policy.yaml
	auditPolicy string
	//go:embed files/scheduler.yaml
	schedulerConfig string
)

// writeConfigs writes what the components read besides their credentials.
func writeConfigs(at layout, c *credentials, server, mode string) error {
	for file, name := range map[string]string{
		at.state("manager.kubeconfig"):   manager,
		at.state("scheduler.kubeconfig"): scheduler,
	} {
		if err := c.writeKubeconfig(file, server, name, ""); err != nil {
			return err
		}
	}
	limits := modes[mode]
	for file, content := range map[string]string{
		"audit-policy.yaml": auditPolicy,
		"scheduler.yaml": fmt.Sprintf(schedulerConfig,
			at.state("scheduler.kubeconfig"), limits.scheduler, limits.schedulerBurst),
	} {
		if err := os.WriteFile(at.state(file), []byte(content), 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", file, err)
		}
	}
	return nil
}
