-- Twelve companies to play with. In each, ada and ben sign in with the password "crewboard".

INSERT INTO companies (company_id, slug, name, tier) VALUES
    (1, 'aurora', 'Aurora Airlines', 'enterprise'),
    (2, 'boreal', 'Boreal Bank', 'enterprise'),
    (3, 'cobalt', 'Cobalt Studio', 'agency'),
    (4, 'delta', 'Delta Design', 'agency'),
    (5, 'ember', 'Ember Events', 'agency'),
    (6, 'fjord', 'Fjord Films', 'agency'),
    (7, 'garnet', 'Garnet Gardens', 'starter'),
    (8, 'harbor', 'Harbor Coffee', 'starter'),
    (9, 'iris', 'Iris Optics', 'starter'),
    (10, 'juniper', 'Juniper Books', 'starter'),
    (11, 'kite', 'Kite School', 'starter'),
    (12, 'lumen', 'Lumen Lamps', 'starter');

INSERT INTO users (company_id, email, name, password_hash)
SELECT company_id, lower(name) || '@' || slug || '.example', name,
    'scrypt$16384$JnvnXoT6HjbssomcjpuvnQ==$GU2aqsBLSHzpOgDEMwg4hZmWRw/95qMvacFoZ7PQLkddyfxuGThWHU4liycBHwY7QnAORVvbGRJxdN9/ZYbE/A=='
FROM (SELECT company_id, slug FROM companies) AS company, unnest(ARRAY['Ada', 'Ben']) AS name;

INSERT INTO projects (company_id, name, created_by)
SELECT company.company_id, title.name, ada.user_id
FROM companies AS company
JOIN users AS ada ON ada.company_id = company.company_id AND ada.name = 'Ada'
JOIN unnest(ARRAY[
    'New website', 'Spring campaign', 'Office move', 'Newsletter', 'Customer survey', 'Trade fair', 'Hiring', 'Archive'
]) WITH ORDINALITY AS title (name, place)
    ON place <= CASE company.tier WHEN 'enterprise' THEN 8 WHEN 'agency' THEN 5 ELSE 2 END
ORDER BY company.company_id, place;

INSERT INTO tasks (company_id, project_id, title, status, due_on)
SELECT company_id, project_id, title,
    CASE WHEN place <= 4 THEN 'done' WHEN place <= 7 THEN 'doing' ELSE 'todo' END,
    current_date + (place * 3 - 20)::int
FROM projects, unnest(ARRAY[
    'Write down what we want', 'Ask three customers', 'Agree on a budget', 'Sketch two versions', 'Pick one',
    'Collect the photos', 'Write the texts', 'Check the facts', 'Book the printer', 'Tell the team', 'Go live',
    'Look back'
]) WITH ORDINALITY AS step (title, place);
