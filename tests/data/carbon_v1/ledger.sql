BEGIN TRANSACTION;
CREATE TABLE certificates (
    number INTEGER PRIMARY KEY, project TEXT NOT NULL, event TEXT NOT NULL, written_at INTEGER NOT NULL);
INSERT INTO "certificates" VALUES(1,'house-01','{"type":"issue","bundle":"b1","device":"pv","owner":"us","start":1651363200000000000,"end":1651366800000000000,"amount_wh":1500,"produced_wh":1500,"source":"solar","location":"CN"}',1651399200000000000);
CREATE TABLE pending (
    project TEXT NOT NULL, meter TEXT NOT NULL, start INTEGER NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (project, meter)) WITHOUT ROWID;
INSERT INTO "pending" VALUES('house-01','meter',1651370400000000000,'late readings');
CREATE TABLE rows (
    project TEXT NOT NULL, meter TEXT NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL, role TEXT NOT NULL,
    import_kwh REAL, export_kwh REAL, generation_kwh REAL, fuel_kwh REAL,
    scope1_kg REAL, location_kg REAL, market_kg REAL, upstream_kg REAL,
    coverage REAL NOT NULL, quality TEXT NOT NULL, factors TEXT NOT NULL, inputs TEXT NOT NULL,
    version INTEGER NOT NULL, reason TEXT NOT NULL, written_at INTEGER NOT NULL,
    PRIMARY KEY (project, meter, start, version)) WITHOUT ROWID;
INSERT INTO "rows" VALUES('house-01','boiler',1651363200000000000,1651366800000000000,'fuel',NULL,NULL,NULL,10.0,2.0196000000000005059e+00,NULL,NULL,NULL,1.0,'measured','["ipcc-2006-natural-gas"]','["meter/import_register","meter/export_register"]',1,'',1651395600000000000);
INSERT INTO "rows" VALUES('house-01','meter',1651363200000000000,1651366800000000000,'grid',1.0,0.0,NULL,NULL,NULL,0.5366,0.5856,NULL,1.0,'measured','["cn-2022-average","cn-2022-residual"]','["meter/import_register","meter/export_register"]',1,'',1651395600000000000);
INSERT INTO "rows" VALUES('house-01','meter',1651366800000000000,1651370400000000000,'grid',1.0,0.0,NULL,NULL,NULL,0.5366,0.5856,NULL,1.0,'measured','["cn-2022-average","cn-2022-residual"]','["meter/import_register","meter/export_register"]',1,'',1651395600000000000);
INSERT INTO "rows" VALUES('house-01','meter',1651366800000000000,1651370400000000000,'grid',2.0,0.0,NULL,NULL,NULL,1.0732,1.1712,NULL,1.0,'measured','["cn-2022-average","cn-2022-residual"]','["meter/import_register","meter/export_register"]',2,'late readings',1651399200000000000);
INSERT INTO "rows" VALUES('house-01','meter',1651370400000000000,1651374000000000000,'grid',1.0,0.0,NULL,NULL,NULL,0.5366,0.5856,NULL,1.0,'measured','["cn-2022-average","cn-2022-residual"]','["meter/import_register","meter/export_register"]',1,'',1651395600000000000);
CREATE INDEX certificates_of_project ON certificates (project, number);
CREATE TRIGGER rows_stay BEFORE UPDATE ON rows BEGIN SELECT RAISE(ABORT, 'a ledger row is never changed'); END;
CREATE TRIGGER certificates_stay BEFORE UPDATE ON certificates
    BEGIN SELECT RAISE(ABORT, 'a certificate''s event is never changed'); END;
COMMIT;
PRAGMA user_version = 1;
