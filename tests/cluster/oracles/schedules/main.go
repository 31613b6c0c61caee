// schedules tells when robfig/cron, which reads a CronJob's schedule, finds expressions due: around
// every clock change of 2026, in zones of all kinds. It writes what tests/it/oracles.rs compares
// Schedule with. In tests/cluster/oracles, with Go's own tz database instead of the machine's:
//
//	ZONEINFO=$(go env GOROOT)/lib/time/zoneinfo.zip go run ./schedules >../../vectors/schedules.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// How many of an expression's next fire times are written.
const count = 5

var zones = []string{
	"Etc/UTC",
	"Europe/Berlin",
	"America/New_York",
	// By half an hour.
	"Australia/Lord_Howe",
	// At midnight.
	"Africa/Cairo",
	// No changes, and not a whole hour from UTC.
	"Asia/Kolkata",
	// Half an hour off, with changes by a whole one.
	"America/St_Johns",
}

var valid = []string{
	// Plain numbers and stars.
	"* * * * *", "0 * * * *", "30 * * * *", "59 23 * * *", "0 0 * * *", "0 1 * * *", "0 2 * * *",
	"0 3 * * *", "15 1 * * *", "30 1 * * *", "45 1 * * *", "15 2 * * *", "30 2 * * *", "45 2 * * *",
	"30 0 * * *", "30 23 * * *", "0 12 1 * *", "05 003 * * *", "+5 +3 * * *",
	// Lists, ranges and steps.
	"0,30 * * * *", "0,15,30,45 1-3 * * *", "*/7 * * * *", "5/10 * * * *", "5-40/10 * * * *",
	"*/15 0-4 * * *", "0 */2 * * *", "0 1/6 * * *", "0 0,12 * * *", "59/1 * * * *", "*/100 * * * *",
	"10,10,10 2,2 * * *", "*/002 * * * *", "*/+20 * * * *", "1-1 3-3 * * *", "0 9-17/4 * * 1-5",
	"*,5 3 * * *", "5,* 3 * * *", "*/1 3 * * *", "0-59 2 * * *", "59-59/9 22-23 * * *",
	// Empty items are passed over, and a field of nothing else never matches.
	"1,,2 3 * * *", ",7 3 * * *", "7, 3 * * *", ", * * * *", "0 , * * *", "0 3 , * *", "0 3 * , *",
	"0 3 * * ,", "0 3 , * 1", "0 3 1 * ,", "0 3 , * ,",
	// What follows a star and a dash is not looked at.
	"*-5 3 * * *", "?-9/20 3 * * *", "0 3 *-x * 1", "*-1-2-3 4 * * *",
	// Question marks and names.
	"0 3 ? * *", "0 3 * * ?", "0 3 ? * ?", "? ? ? ? ?", "?/15 3 * * *", "0 3 * JAN *",
	"0 3 * oct-NOV Sun", "0 3 * mar,Apr *", "0 3 * * SUN,Wed", "0 3 * * mon-fri", "0 3 * * tue/2",
	"0 3 * * 0", "0 3 * * 6", "0 3 * * 0-6", "0 0 * * fri", "0 5 * * 5", "0 3 * 2/3 *",
	// Day of month or day of week, where neither is a star; a step counts as none.
	"0 3 13 * 5", "0 3 1,15 * mon", "0 3 */2 * 1", "0 3 * * */2", "0 3 */10 * */3", "0 3 */1 * 1",
	"0 3 1-7 * 0", "0 0 24 4 *", "0 5 23 4 *", "0 5 24 4 5", "0 0 30 10 *", "30 0 24,29,30 4,10 *",
	"0 3 31 * *", "0 3 31 4,6,9,11 *", "0 3 30 2 *", "0 3 29 2 *", "0 3 29 2 1", "0 2 29 3 *",
	"30 2 29 3 *", "30 2 8 3 *", "30 1 1 11 *", "45 1 5 4 *", "15 2 4 10 *", "0 3 4,5 4,10 *",
	// Shorthands.
	"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly",
	"@every 1h30m", "@every 90s", "@every 1.5h", "@every 24h", "@every 1s", "@every 168h",
	// White space.
	"  0   3 *\t* *  ", "0\u00a03\u2003* * *", "\n0 3 * * *\r\n",
}

var invalid = []string{
	"", " ", "0", "0 3", "0 3 * *", "0 0 3 * * *", "0 0 3 * * * *", "0 3 * * * x",
	"60 * * * *", "* 24 * * *", "* * 0 * *", "* * 32 * *", "* * * 0 *", "* * * 13 *", "* * * * 7",
	"-1 * * * *", "* -1 * * *", "1- * * * *", "-5 * * * *", "5--7 * * * *", "1-2-3 * * * *",
	"5-3 * * * *", "0 22-2 * * *", "0 3 * * fri-mon", "0 3 * nov-feb *", "50-60 * * * *", "0 0 0-5 * *",
	"*/0 * * * *", "*/ * * * *", "/5 * * * *", "5/ * * * *", "1/2/3 * * * *", "*/-2 * * * *",
	"*/x * * * *", "*/1.5 * * * *", "*/9223372036854775808 * * * *", "99999999999999999999 * * * *",
	"x * * * *", "0 x * * *", "mon * * * *", "0 jan * * *", "0 3 sun * *", "0 3 * sun *", "0 3 * * jan",
	"0 3 * january *", "0 3 * * sunday", "0 3 * * su", "0 3 L * *", "0 3 W * *", "0 3 15W * *",
	"0 3 * * 5L", "0 3 * * 5#2", "0 3 * * #", "H 3 * * *", "** * * * *", "*5 * * * *", "5* * * * *",
	"*? * * * *", "*,x * * * *", "1;2 * * * *", "1.5 * * * *", "0x5 * * * *", "1e1 * * * *",
	"1_0 * * * *", "++5 * * * *", "+ * * * *", "٣ * * * *", "５ * * * *", "½ * * * *", "0\u200b3 * * *",
	"@", "@reboot", "@Daily", "@HOURLY", "@daily ", " @daily", "@ daily", "@fortnightly", "@daily 3",
	"@every", "@every ", "@every 5", "@every x", "@every 1d", "@every 1h 30m", "@every 1h\t", "@every1h",
	"TZ=UTC 0 3 * * *", "CRON_TZ=Europe/Berlin 0 3 * * *", "0 3 * * * TZ=UTC", "0 3 * * TZ",
}

func main() {
	var starting []string
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		fail(err)
		for _, start := range starts(zone) {
			var due []string
			for _, expression := range valid {
				due = append(due, text(append([]string{expression}, fires(expression, name, start)...)))
			}
			starting = append(starting, fmt.Sprintf("{\"zone\": %s, \"after\": %s, \"due\": [\n%s\n]}",
				text(name), text(stamp(start)), strings.Join(due, ",\n")))
		}
	}
	for _, expression := range invalid {
		// The API server looks for "TZ" first, because robfig/cron would take it.
		if _, err := parse(expression); err == nil && !strings.Contains(expression, "TZ") {
			fail(fmt.Errorf("%q is valid", expression))
		}
	}
	// Each line of `due` is an expression and its fire times.
	fmt.Printf("{\"invalid\": %s,\n\"starting\": [\n%s\n]}\n", text(invalid), strings.Join(starting, ",\n"))
}

// starts gives a plain moment, and moments before, at and in the middle of every clock change of
// 2026: a day before, because the search is not the same from everywhere.
func starts(zone *time.Location) []time.Time {
	starts := []time.Time{time.Date(2026, 6, 17, 21, 42, 13, 700_000_000, time.UTC)}
	_, before := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).In(zone).Zone()
	for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() == 2026; at = at.Add(time.Minute) {
		_, offset := at.In(zone).Zone()
		if offset != before {
			for _, away := range []time.Duration{-26 * time.Hour, -80 * time.Minute, -time.Second, 10 * time.Minute} {
				starts = append(starts, at.Add(away))
			}
		}
		before = offset
	}
	return starts
}

func fires(expression, zone string, after time.Time) []string {
	_, err := parse(expression)
	fail(err)
	// As the CronJob controller hands a schedule and its zone over.
	schedule, err := parse("TZ=" + zone + " " + expression)
	fail(err)
	fires := []string{}
	for at := after; len(fires) < count; {
		if at = schedule.Next(at); at.IsZero() {
			break
		}
		fires = append(fires, stamp(at))
	}
	return fires
}

func parse(expression string) (schedule cron.Schedule, err error) {
	// It panics where nothing follows a zone.
	defer func() {
		if found := recover(); found != nil {
			err = fmt.Errorf("%v", found)
		}
	}()
	return cron.ParseStandard(expression)
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

func text(value any) string {
	text, err := json.Marshal(value)
	fail(err)
	return string(text)
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "schedules:", err)
		os.Exit(1)
	}
}
