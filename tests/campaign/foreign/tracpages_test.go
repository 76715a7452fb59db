package foreign_test

import (
	"context"
)

// savePage is WikiPage.save.
func (p *process) savePage(ctx context.Context, token string) (step, error) {
	name := p.pageName()
	version, err := p.newest(ctx, p.db, name)
	if err != nil {
		return nil, err
	}
	version++
	return func(ctx context.Context, q querier) error {
		if _, err := p.d.exec(ctx, q, "INSERT INTO wiki (name,version,time,author,text,comment,readonly) VALUES (?, ?, ?, ?, ?, ?, 0)",
			name, version, now(), token, token, token); err != nil {
			return err
		}
		kind := changed
		if version == 1 {
			kind = created
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: page(name), Kind: kind, Version: version})
	}, nil
}

// deleteVersion is WikiPage.delete with a version.
func (p *process) deleteVersion(ctx context.Context, token string) (step, error) {
	name := p.pageName()
	version, err := p.newest(ctx, p.db, name)
	if err != nil {
		return nil, err
	}
	if version > 1 && p.random.IntN(2) == 0 {
		version--
	}
	return p.removePage(token, versionDeleted, name, version, "DELETE FROM wiki WHERE name=? AND version=?", name, version), nil
}

// deletePage is WikiPage.delete without one.
func (p *process) deletePage(token string) step {
	name := p.pageName()
	return p.removePage(token, deleted, name, 0, "DELETE FROM wiki WHERE name=?", name)
}

func (p *process) removePage(token, kind, name string, version int64, text string, args ...any) step {
	return func(ctx context.Context, q querier) error {
		n, err := p.d.exec(ctx, q, text, args...)
		if err == nil && n == 0 {
			err = errNothing
		}
		if err != nil {
			return err
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: page(name), Kind: kind, Version: version})
	}
}

// renamePage is WikiPage.rename.
func (p *process) renamePage(ctx context.Context, token string) (step, error) {
	old, name := p.pageName(), p.pageName()
	version, err := p.newest(ctx, p.db, name)
	if err != nil {
		return nil, err
	}
	if version > 0 || old == name {
		return nil, errNothing
	}
	return func(ctx context.Context, q querier) error {
		n, err := p.d.exec(ctx, q, "UPDATE wiki SET name=? WHERE name=?", name, old)
		if err == nil && n == 0 {
			err = errNothing
		}
		if err != nil {
			return err
		}
		return p.d.mark(ctx, q, write{Token: token, Resource: page(name), Kind: renamed, OldName: old})
	}, nil
}
