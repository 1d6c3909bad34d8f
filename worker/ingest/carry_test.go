package ingest

import "testing"

func testCarry(t *testing.T, l *landing, before *Result) {
	for _, to := range []Target{l.request.Bronze, l.request.Quarantine} {
		request := CarryRequest{To: to, AttemptID: "03ATTEMPT", Engine: l.request.Engine, ScratchDir: l.request.ScratchDir, Dropped: []string{"2026/01/a.csv", "never.csv", "it's.csv"}}
		for _, file := range before.Files {
			if file.Table == to.Table {
				request.Files = append(request.Files, file.Path)
			}
		}
		result, err := Carry(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		l.scratchEmpty()
		column := sourceFileColumn(to.Table)
		list := "SELECT * FROM t WHERE " + column + " <> '2026/01/a.csv' ORDER BY ALL"
		stays := rows(t, before.Files, to, list)
		expect(t, "rows that stay of "+to.Table, rows(t, result.Files, to, "SELECT * FROM t ORDER BY ALL"), stays)
		if result.RowsOut != int64(len(stays)) || result.RowsIn != result.RowsOut+result.RowsDropped || result.RowsDropped == 0 {
			t.Errorf("%+v, %d stay", result, len(stays))
		}
		request.Dropped = []string{"2026/01/a.csv", "2026/01/b.csv", "c.csv.gz", "cut.csv.gz", "twice.csv"}
		request.AttemptID = "04ATTEMPT"
		if result, err = Carry(t.Context(), request); err != nil || len(result.Files) != 0 || result.RowsOut != 0 {
			t.Errorf("dropping all gave %+v, %v", result, err)
		}
		request.Dropped, request.AttemptID = nil, "05ATTEMPT"
		if result, err = Carry(t.Context(), request); err != nil || result.RowsDropped != 0 || result.RowsOut != result.RowsIn {
			t.Errorf("dropping nothing gave %+v, %v", result, err)
		}
	}
}
